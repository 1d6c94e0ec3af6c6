"""Transcripts: one spelling, vocabularies, and what cannot be learned."""

import numpy as np
import pytest

from whet.core import Rows
from whet.data.spelling import spelled
from whet.data.transcripts import characters, refuse_long, refuse_unspeakable
from whet.errors import DataError
from whet.model.spelling import in_its_case, new_vocabulary, numbers, texts, unspelled


@pytest.mark.parametrize(
    ("text", "case", "punctuation", "expected"),
    [
        ("Printing, in  the\tonly sense.", "lower", "remove", "printing in the only sense"),
        ("Don\u2019t well-known \u201cquote\u201d!", "lower", "remove", "don't well known quote"),
        ("Don't!", "keep", "keep", "Don't!"),
        ("a|b", "keep", "keep", "a b"),
        ("\u1112\u1161\u11ab\uad6d", "lower", "remove", "\ud55c\uad6d"),
        ("50 % of $3.5", "lower", "remove", "50 of $35"),
    ],
)
def test_one_spelling(text: str, case: str, punctuation: str, expected: str) -> None:
    assert spelled(text, case, punctuation) == expected  # type: ignore[arg-type]


def test_a_new_vocabulary_spells_its_characters_and_nothing_else() -> None:
    tokenizer = new_vocabulary(characters(["ab ba", "cé"]))
    assert len(tokenizer) == 3 + 4
    assert texts([numbers("ab cé", tokenizer)], tokenizer) == ["ab cé"]
    assert numbers("x", tokenizer) == [tokenizer.unk_token_id]
    assert texts([numbers("axb", tokenizer)], tokenizer) == ["ab"]
    assert unspelled("abx y", tokenizer) == {"x", "y"}
    # Transformers reads a row of steps alike.
    a, b, blank = *numbers("ab", tokenizer), tokenizer.pad_token_id
    assert tokenizer.decode([a, a, blank, a, b, b]) == "aab"


def test_a_vocabulary_of_capitals_spells_small_letters_in_capitals() -> None:
    tokenizer = new_vocabulary("ABC'")
    assert in_its_case("cab", tokenizer) == "CAB"
    assert unspelled("abc'", tokenizer) == set()
    assert texts([numbers("cab", tokenizer)], tokenizer) == ["CAB"]
    assert in_its_case("Ab", new_vocabulary("aB")) == "Ab"


def test_transcripts_that_cannot_be_learned_are_told_with_their_lines() -> None:
    rows = Rows({"text": ["ab", "!?", "aab"]}, "t.csv", [2, 3, 4])
    with pytest.raises(DataError, match=r"nothing but punctuation.*line 3.*task.punctuation"):
        refuse_unspeakable(rows, "text", ["ab", "", "aab"])
    refuse_long(rows, [[1, 2], [3], [1, 1, 2]], np.array([2, 1, 4]))
    with pytest.raises(DataError, match=r"1 transcripts are longer than their clips.*line 4: 4 for 3"):
        refuse_long(rows, [[1, 2], [3], [1, 1, 2]], np.array([2, 1, 3]))
