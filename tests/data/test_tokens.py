"""Texts become token numbers once, without padding, and nothing is cut silently."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerBase

from tests.conftest import POSITIONS, sentences
from whet.core import Rows
from whet.data.tokens import CHUNK, LONGEST, limit, tokenise
from whet.errors import DataError, RecipeError


@pytest.fixture(scope="module")
def processor(tiny_model: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_model)
    return tokenizer


def rows(*texts: object, **more: list[object]) -> Rows:
    return Rows({"text": list(texts), **more}, "data.csv", range(2, len(texts) + 2))


def words(processor: PreTrainedTokenizerBase, numbers: list[int]) -> list[str]:
    return list(processor.convert_ids_to_tokens(numbers))


def test_a_text_stands_between_the_marks_of_the_model(processor: PreTrainedTokenizerBase) -> None:
    tokens = tokenise(rows("a good film", "bad"), ["text"], processor, 24)
    numbers = tokens.inputs["input_ids"]
    assert words(processor, numbers[0].tolist()) == ["[CLS]", "a", "good", "film", "[SEP]"]
    assert words(processor, numbers[1].tolist()) == ["[CLS]", "bad", "[SEP]"]
    assert tokens.lengths.tolist() == [5, 3]
    assert tokens.truncated == 0


def test_a_pair_is_one_row_whose_halves_are_told_apart(processor: PreTrainedTokenizerBase) -> None:
    tokens = tokenise(rows("a film", other=["good"]), ["text", "other"], processor, 24)
    assert words(processor, tokens.inputs["input_ids"][0].tolist()) == ["[CLS]", "a", "film", "[SEP]", "good", "[SEP]"]
    assert tokens.inputs["token_type_ids"][0].tolist() == [0, 0, 0, 0, 1, 1]


def test_only_long_rows_lose_their_end_and_are_counted(processor: PreTrainedTokenizerBase) -> None:
    texts = ["good", "a good film and a bad book", "a bad day so good"]
    tokens = tokenise(rows(*texts), ["text"], processor, 6)
    assert tokens.lengths.tolist() == [3, 6, 6]
    assert tokens.truncated == 2
    assert words(processor, tokens.inputs["input_ids"][1].tolist()) == ["[CLS]", "a", "good", "film", "and", "[SEP]"]
    assert tokenise(rows(*texts), ["text"], processor, 9).truncated == 0


def read_one_by_one(
    processor: PreTrainedTokenizerBase, columns: list[list[str]], longest: int
) -> tuple[dict[str, list[list[int]]], int]:
    """What ``tokenise`` should find, as plain lists, with one call for each row; the rows that were cut."""
    options = {"return_attention_mask": False, "verbose": False}
    whole = [processor(*texts, **options)["input_ids"] for texts in zip(*columns, strict=True)]
    cut = [processor(*texts, truncation=True, max_length=longest, **options) for texts in zip(*columns, strict=True)]
    inputs = {name: [row[name] for row in cut] for name in cut[0]}
    return inputs, sum(len(numbers) > longest for numbers in whole)


@pytest.mark.parametrize("kind", ["fast", "cut on the left", "written in Python"])
@pytest.mark.parametrize("columns", [1, 2])
def test_many_rows_are_read_like_each_of_them(tiny_model: Path, kind: str, columns: int) -> None:
    tokenizer: PreTrainedTokenizerBase
    if kind == "written in Python":
        tokenizer = ByT5Tokenizer()
    else:
        side = "left" if kind == "cut on the left" else "right"
        tokenizer = AutoTokenizer.from_pretrained(tiny_model, truncation_side=side)
    texts = [text for text, _ in sentences(CHUNK + 70)]
    lengths = np.random.default_rng(0).integers(1, 6, (columns, len(texts)))
    parts = [[" ".join(t.split()[:n]) for t, n in zip(texts, each, strict=True)] for each in lengths.tolist()]
    longest = {1: 5, 2: 9}[columns] * (4 if kind == "written in Python" else 1)
    names = ["text", "other"][:columns]
    tokens = tokenise(
        Rows(dict(zip(names, map(list, parts), strict=True)), "d", range(len(texts))), names, tokenizer, longest
    )
    expected, cut = read_one_by_one(tokenizer, parts, longest)
    assert 0 < cut < len(texts)
    assert tokens.truncated == cut
    assert tokens.inputs.keys() == expected.keys()
    for name, values in tokens.inputs.items():
        assert values.values.dtype == np.int32
        assert [values[row].tolist() for row in range(len(values))] == expected[name]
    assert tokens.lengths.tolist() == [len(row) for row in expected["input_ids"]]


def test_every_input_has_what_pads_it(processor: PreTrainedTokenizerBase) -> None:
    tokens = tokenise(rows("a"), ["text"], processor, 24)
    assert tokens.fills.keys() == tokens.inputs.keys()
    assert tokens.fills["input_ids"] == processor.pad_token_id


def test_numbers_are_read_as_texts(processor: PreTrainedTokenizerBase) -> None:
    assert tokenise(rows(3, 2.5, True), ["text"], processor, 24).lengths.tolist() == [3, 5, 3]


def test_no_rows_are_no_tokens(processor: PreTrainedTokenizerBase) -> None:
    assert tokenise(rows(), ["text"], processor, 24).lengths.tolist() == []


def test_a_text_in_which_the_tokenizer_reads_nothing_is_refused(tiny_model: Path) -> None:
    bare = AutoTokenizer.from_pretrained(tiny_model)
    bare.backend_tokenizer.post_processor = None
    with pytest.raises(DataError, match=r"data\.csv: .* reads nothing in the text of lines 3, 4; correct it"):
        tokenise(rows("a film", " ", "\n", "good"), ["text"], bare, 24)


def test_the_limit_is_the_wish_else_what_the_model_reads(processor: PreTrainedTokenizerBase) -> None:
    assert limit(processor, None) == POSITIONS
    assert limit(processor, 7) == 7
    assert limit(processor, POSITIONS) == POSITIONS
    with pytest.raises(RecipeError, match=rf"task\.max_length: 99 tokens, .* reads {POSITIONS}; choose at most"):
        limit(processor, 99)


def test_without_a_limit_of_the_model_long_texts_are_still_cut(tiny_model: Path) -> None:
    endless = AutoTokenizer.from_pretrained(tiny_model, model_max_length=10**30)
    assert limit(endless, None) == LONGEST
    assert limit(endless, 2000) == 2000
