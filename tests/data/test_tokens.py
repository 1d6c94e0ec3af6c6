"""Texts become token numbers once, without padding, and nothing is cut silently."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.conftest import POSITIONS
from whet.core import Rows
from whet.data.tokens import LONGEST, limit, tokenise
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
