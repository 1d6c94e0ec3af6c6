"""A plain text as rows."""

from whet.data.passages import LONG, read_passages


def test_passages_hold_the_whole_text_and_know_their_lines() -> None:
    paragraphs = [f"{number} " + "word " * (number * 37 % 400) for number in range(120)]
    text = "\n\n".join(paragraphs)
    rows = read_passages(text, "book.txt")
    passages = [str(passage) for passage in rows.columns["text"]]
    assert "\n\n".join(passages) == text
    assert len(passages) > 5
    assert all(LONG <= len(passage) <= 2 * LONG for passage in passages[:-1])
    lines = text.split("\n")
    assert [lines[place - 1] for place in rows.places] == [passage.split("\n")[0] for passage in passages]


def test_a_text_without_empty_lines_is_cut_at_its_lines_and_one_without_lines_anywhere() -> None:
    lines = read_passages("\n".join(["x" * 99] * 200), "lines.txt")
    assert all(str(passage).count("\n") == str(passage).count("x") / 99 - 1 for passage in lines.columns["text"])
    block = read_passages("y" * (3 * LONG), "block.txt")
    assert [len(str(passage)) for passage in block.columns["text"]] == [LONG, LONG, LONG]


def test_a_short_text_is_one_passage_and_blank_lines_are_none() -> None:
    assert read_passages("\n\nhello\nyou\n\n", "a.txt").columns == {"text": ["hello\nyou"]}
    assert read_passages("\n\nhello\nyou\n\n", "a.txt").places == [3]
    assert len(read_passages(" \n \n", "a.txt")) == 0
