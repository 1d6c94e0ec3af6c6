"""Files with a tag in each line: sentences, columns, comments, and what is wrong told by line."""

import pytest

from whet.data.tag_lines import read_tag_lines
from whet.errors import DataError


def test_sentences_end_at_empty_lines_and_know_where_they_begin() -> None:
    rows = read_tag_lines("-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\n\r\nPeter NNP B-PER\r\n", "a.conll")
    assert rows.columns == {
        "tokens": [["EU", "rejects"], ["Peter"]],
        "column_2": [["NNP", "VBZ"], ["NNP"]],
        "tags": [["B-ORG", "O"], ["B-PER"]],
    }
    assert list(rows.places) == [3, 7]


def test_a_tab_keeps_spaces_that_are_tokens() -> None:
    rows = read_tag_lines("## klue-01\t저는 왔다\n저\tB-PS\n \tO\n는\tO\n", "a.txt")
    assert rows.columns["tokens"] == [["저", " ", "는"]]


def test_comments_are_told_from_tokens_that_begin_with_their_sign() -> None:
    rows = read_tag_lines("# text = a b\n#a O\n# O\nb B-x\n", "a.iob")
    assert rows.columns["tokens"] == [["#a", "#", "b"]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a O\nb\n\nc\n", "a token without a tag in line 2, 4"),
        ("a O\nb X O\n", "the first token has 2 cells, but line 2 has 3"),
        ("\n\n-DOCSTART- O\n", "not a single token"),
    ],
)
def test_bad_lines_are_named(text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read_tag_lines(text, "a.conll")
