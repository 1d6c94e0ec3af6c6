"""Which column is found to be what, and the reason that is given."""

from pathlib import Path

import pytest

from whet.core import Choice, Columns, Rows
from whet.data.columns import infer
from whet.data.source import read
from whet.errors import DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"
WORDS = ["a plain film", "what a joy to watch", "too long by half", "the cast is fine", "never again", "a small wonder"]


def table(**columns: list[object]) -> Rows:
    length = len(next(iter(columns.values())))
    return Rows(columns, "data.csv", range(2, length + 2))


def found(rows: Rows, labelled: bool = True) -> Columns:
    return infer(rows, text=None, label=None, group=None, labelled=labelled)[0]


def reason(rows: Rows, path: str) -> str:
    return next(c.reason for c in infer(rows, text=None, label=None, group=None)[1] if c.path == path)


TEXTS: list[object] = [f"{words}, {number}" for words in WORDS for number in ("one", "two")]
CLASSES: list[object] = ["pos", "neg", "neg"] * 4
OTHERS: list[object] = ["red", "blue", "green", "blue"] * 3


@pytest.mark.parametrize(
    "name", ["label", "Labels", "class", "Intent", "sentiment", "target", "y", "라벨", "감정", "분류"]
)
@pytest.mark.parametrize("text", ["text", "Sentence", "review", "message", "문장", "리뷰", "title"])
def test_well_known_names_are_found_whatever_the_order(name: str, text: str) -> None:
    assert found(table(**{name: CLASSES, "colour": OTHERS, text: TEXTS})) == Columns((text,), (name,))
    assert found(table(**{text: TEXTS, "colour": OTHERS, name: CLASSES})) == Columns((text,), (name,))


def test_unknown_names_are_found_by_the_shape_of_their_values() -> None:
    rows = table(id=list(range(12)), v1=CLASSES, v2=TEXTS, code=[f"A-{i}" for i in range(12)])
    assert found(rows) == Columns(("v2",), ("v1",))
    assert "the longest texts" in reason(rows, "data.text")
    assert "12 of 12 distinct" in reason(rows, "data.text")
    assert "2 different values in 12 rows" in reason(rows, "data.label")


def test_four_rows_are_enough_and_the_label_is_not_told_as_an_unused_text() -> None:
    rows = table(v1=["ham", "spam", "ham", "ham"], v2=TEXTS[:4])
    assert found(rows) == Columns(("v2",), ("v1",))
    assert "not used" not in reason(rows, "data.text")


@pytest.mark.parametrize(
    "names",
    [
        ("sentence1", "sentence2"),
        ("premise", "hypothesis"),
        ("Question 1", "Question 2"),
        ("text_a", "text_b"),
        ("문장1", "문장2"),
        ("전제", "가설"),
        ("query", "document"),
    ],
)
def test_pairs_of_texts_are_found(names: tuple[str, str]) -> None:
    assert found(table(**{names[0]: TEXTS, names[1]: TEXTS[::-1], "label": CLASSES})).text == names


def test_of_several_texts_one_is_chosen_and_the_others_are_named() -> None:
    rows = table(title=[f"t {words}" for words in WORDS * 2], description=TEXTS, label=CLASSES, body_html=TEXTS)
    rows.columns["title"] = [f"{value} {i}" for i, value in enumerate(rows.columns["title"])]
    assert found(rows).text == ("description",)
    assert "'title', 'body_html' are not used" in reason(rows, "data.text")


def test_an_exact_name_wins_over_other_labels_and_the_reason_names_them() -> None:
    rows = table(text=TEXTS, fine_label=OTHERS, label=CLASSES, topic=OTHERS)
    assert found(rows).label == ("label",)
    assert "'fine_label', 'topic' could be a label too" in reason(rows, "data.label")


@pytest.mark.parametrize("names", [("fine_label", "coarse_label"), ("sentiment", "topic"), ("colour", "shape")])
def test_two_equally_good_labels_are_an_error_that_lists_them(names: tuple[str, str]) -> None:
    rows = table(**{"text": TEXTS, names[0]: OTHERS, names[1]: CLASSES})
    with pytest.raises(DataError) as caught:
        found(rows)
    for word in (*names, f"--set data.label={names[0]}", "data.csv"):
        assert word in str(caught.value)
    assert found(rows, labelled=False) == Columns(("text",), ())


def test_identifiers_files_of_a_split_and_addresses_are_neither_text_nor_label() -> None:
    rows = table(
        reviewId=[f"r {i} of many more" for i in range(12)],
        url=[f"https://example.org/films/{i}/a-very-long-address-of-a-page" for i in range(12)],
        date=[f"2024-01-{i + 10} 10:00:00" for i in range(12)],
        split=["train", "test", "test"] * 4,
        words=TEXTS,
        stars=["1.0", "2.0", "5.0"] * 4,
    )
    assert found(rows) == Columns(("words",), ("stars",))


def test_free_text_under_a_name_of_labels_is_not_taken_for_one() -> None:
    with pytest.raises(DataError, match="looks like a label"):
        found(table(text=TEXTS, target=TEXTS[::-1]))


def test_a_regression_is_found_as_the_only_column_with_numbers() -> None:
    rows = table(text=TEXTS, price=[i * 1.5 for i in range(12)])
    assert found(rows).label == ("price",)
    assert "numbers" in reason(rows, "data.label")


def test_several_columns_of_flags_are_one_label_with_several_classes() -> None:
    flags: list[list[object]] = [["0", "1", "0"] * 4, ["1", "0", "0"] * 4, ["0", "0", "1"] * 4]
    rows = table(comment=TEXTS, toxic=flags[0], obscene=flags[1], threat=flags[2])
    assert found(rows).label == ("toxic", "obscene", "threat")


def test_rows_without_a_label_are_an_error_only_where_a_label_is_needed() -> None:
    rows = table(text=TEXTS)
    assert found(rows, labelled=False) == Columns(("text",), ())
    with pytest.raises(DataError, match=r"columns are 'text'; name it with --set data\.label=NAME"):
        found(rows)


def test_no_text_is_an_error_that_says_how_to_name_it() -> None:
    with pytest.raises(DataError, match=r"looks like text.*data\.text=NAME"):
        found(table(label=CLASSES, number=[i % 3 for i in range(12)]))


def test_a_file_without_a_header_is_recognised() -> None:
    with pytest.raises(DataError, match="no header: 'pos'"):
        found(table(**{"what a fine film": TEXTS, "pos": CLASSES}))


def test_named_columns_are_taken_as_they_are_and_told_as_given() -> None:
    rows = table(a=TEXTS, b=TEXTS[::-1], toxic=CLASSES, rude=OTHERS, author=OTHERS)
    columns, choices = infer(rows, text=["a", "b"], label=["toxic", "rude"], group="author")
    assert columns == Columns(("a", "b"), ("toxic", "rude"), "author")
    assert choices == [
        Choice("data.text", ["a", "b"], "given"),
        Choice("data.label", ["toxic", "rude"], "given"),
        Choice("data.group", "author", "given"),
    ]


def test_what_is_named_is_no_candidate_for_the_rest() -> None:
    rows = table(text=TEXTS, summary=TEXTS[::-1], label=CLASSES, topic=OTHERS)
    assert infer(rows, text=["summary"], label=None, group="label")[0] == Columns(("summary",), ("topic",), "label")
    assert infer(rows, text=None, label=["text"], group=None)[0].text == ("summary",)


def test_all_missing_columns_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        infer(table(text=TEXTS, label=CLASSES), text=["txt"], label=["lable"], group="author")
    assert caught.value.problems == (
        "column 'txt' not in data.csv; did you mean 'text'?",
        "column 'lable' not in data.csv; did you mean 'label'?",
        "column 'author' not in data.csv; known are: text, label",
    )


def test_one_column_cannot_be_both_text_and_label() -> None:
    with pytest.raises(DataError, match="cannot be both text and label"):
        infer(table(text=TEXTS), text=["text"], label=["text"], group=None)


REAL = {
    "sst2": (("text",), "label"),
    "trec": (("text",), "label"),
    "nsmc": (("document",), "label"),
    "3i4k": (("text",), "label"),
    "sms_spam": (("text",), "label"),
    "banking77": (("text",), "label"),
    "korsts": (("sentence1", "sentence2"), "score"),
    "kornli_xnli": (("premise", "hypothesis"), "label"),
    "go_emotions": (("text",), "labels"),
    "naver_movie_ratings": (("document",), "rating"),
    "korean_chatbot": (("question",), "label"),
    "ag_news": (("description",), "label"),
}


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("part", ["train", "test"])
def test_real_data_sets_are_understood_without_a_word(name: str, part: str) -> None:
    paths = sorted(SHARED.glob(f"{name}/{part}.*"))
    if not paths:
        pytest.skip(f"{SHARED / name} is not there")
    text, label = REAL[name]
    assert found(read(paths[0])) == Columns(text, (label,))
