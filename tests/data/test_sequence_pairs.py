"""Sources and targets as tokens: ends, beginnings, languages, and what is cut."""

from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import MBart50Tokenizer, MBartTokenizer, NllbTokenizer, PreTrainedTokenizerFast

from whet.core import Columns, Ragged, Rows
from whet.data.languages import speak
from whet.data.sequence_pairs import SequencePairs, measured
from whet.errors import DataError, ModelError, RecipeError

WORDS = ["<pad>", "<s>", "</s>", "de_DE", "a", "b", "c", "d", ":"]
COLUMNS = Columns(("source",), ("target",))


def tokenizer(template: str, **options: Any) -> PreTrainedTokenizerFast:
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<pad>"))
    made.pre_tokenizer = Whitespace()
    signs = [(word, i) for i, word in enumerate(WORDS[:4])]
    made.post_processor = TemplateProcessing(single=template, special_tokens=signs)
    signs_of = {"pad_token": "<pad>", "eos_token": "</s>", "model_max_length": 8} | options
    return PreTrainedTokenizerFast(tokenizer_object=made, **signs_of)  # type: ignore[no-untyped-call]


def rows(*pairs: tuple[str, str]) -> Rows:
    return Rows({"source": [a for a, _ in pairs], "target": [b for _, b in pairs]}, "data.csv", range(2, 9))


def pairs(template: str, start: int | None = 0, **options: Any) -> SequencePairs:
    one = tokenizer(template)
    named = {"source": one, "target": one, "prefix": "", "max_length": None, "max_target_length": None}
    return SequencePairs(**(named | options), start=start)


def listed(values: Ragged) -> list[list[int]]:
    return [values[row].tolist() for row in range(len(values))]


@pytest.mark.parametrize(
    ("template", "start", "target", "read", "opening", "first"),
    [
        # T5 and Marian
        ("$A </s>", 0, [4, 5, 2], [0, 4, 5], [], 0),
        # no end of its own
        ("$A", 0, [4, 5, 2], [0, 4, 5], [], 0),
        # BART
        ("<s> $A </s>", 2, [1, 4, 5, 2], [2, 1, 4, 5], [1], 2),
        # mBART: the language stands behind the end, and is read first
        ("$A </s> de_DE", None, [4, 5, 2, 3], [3, 4, 5, 2], [], 3),
        # mBART-50: the language is written first, and the end read
        ("de_DE $A </s>", None, [3, 4, 5, 2], [2, 3, 4, 5], [3], 2),
    ],
)
def test_targets_end_and_are_shifted_by_the_rule_of_the_model(
    template: str, start: int | None, target: list[int], read: list[int], opening: list[int], first: int
) -> None:
    made = pairs(template, start)
    examples = made.examples(rows(("c", "a b")), COLUMNS)
    assert isinstance(examples.targets, Ragged)
    assert listed(examples.targets) == [target]
    assert listed(examples.inputs["decoder_input_ids"]) == [read]
    assert (made.opening, made.first_read, made.end) == (opening, first, 2)


def test_sources_have_a_prefix_and_are_cut() -> None:
    examples = pairs("$A </s>", prefix="d: ", max_length=4).examples(rows(("a", "a"), ("a b c", "b")), COLUMNS)
    assert listed(examples.inputs["input_ids"]) == [[7, 8, 4, 2], [7, 8, 4, 2]]
    assert examples.truncated == 1
    asked = pairs("$A </s>").examples(rows(("a", "")), Columns(("source",), ()))
    assert (asked.targets, [*asked.inputs]) == (None, ["input_ids"])


def test_what_is_cut_of_a_target_keeps_its_end() -> None:
    examples = pairs("$A", max_target_length=3).examples(rows(("a", "a b c d")), COLUMNS)
    assert isinstance(examples.targets, Ragged)
    assert listed(examples.targets) == [[4, 5, 2]]


def test_a_decoder_of_another_model_reads_its_own_signs() -> None:
    target = tokenizer("<s> $A </s>")
    examples = pairs("$A", 1, target=target).examples(rows(("a", "a b")), COLUMNS)
    assert isinstance(examples.targets, Ragged)
    assert (listed(examples.targets), listed(examples.inputs["decoder_input_ids"])) == ([[4, 5, 2]], [[1, 4, 5]])


def test_targets_are_as_long_as_nearly_all_of_them_need() -> None:
    made = pairs("$A </s>")
    longest, choices = measured(made, ["a"] * 300 + ["a b c d"])
    assert (longest, choices[0].reason) == (2, "1 of 301 targets lose their end; the longest has 5 tokens")
    longest, choices = measured(made, ["a", "a b c d"])
    assert (longest, choices[0].reason) == (5, "the longest target has 5 tokens")
    longest, choices = measured(made, ["a b c d a b c d a"])
    assert longest == 8
    assert choices[0].reason.endswith("the longest has 10 tokens, and the model writes 8")


def test_a_source_in_which_nothing_is_read_is_named() -> None:
    with pytest.raises(DataError, match="reads nothing in the text of line 3"):
        pairs("$A").examples(rows(("a", "a"), (" ", "b")), COLUMNS)


def test_a_tokenizer_without_an_end_is_refused() -> None:
    one = tokenizer("$A", eos_token=None)
    with pytest.raises(ModelError, match="no end token"):
        pairs("$A", source=one, target=one).examples(rows(("a", "a")), COLUMNS)


class Polyglot:
    """What a tokenizer of many languages has that others have not."""

    def __init__(self) -> None:
        self._src_lang = "en_XX"
        self.lang_code_to_id = {"en_XX": 1, "de_DE": 2}
        self.src_lang = self.tgt_lang = "?"


def test_languages_are_set_where_there_are_any() -> None:
    polyglot = Polyglot()
    speak(polyglot, "en_XX", "de_DE")
    assert (polyglot.src_lang, polyglot.tgt_lang) == ("en_XX", "de_DE")
    speak(tokenizer("$A"), None, None)


@pytest.mark.parametrize(
    ("source", "target", "told"),
    [
        (None, "de_DE", "task.source_language: .*known are de_DE, en_XX"),
        ("en_XX", "de_De", "task.target_language: 'de_De' is no language.*did you mean 'de_DE'"),
    ],
)
def test_languages_that_are_missing_or_unknown_are_told(source: str | None, target: str | None, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        speak(Polyglot(), source, target)


PIECES = [
    ("<s>", 0.0),
    ("<pad>", 0.0),
    ("</s>", 0.0),
    ("<unk>", 0.0),
    ("▁a", -1.0),
    ("▁b", -2.0),
    ("▁", -3.0),
    ("a", -4.0),
    ("b", -4.0),
]


@pytest.mark.parametrize(
    ("made", "codes", "start", "read", "learned", "first"),
    [
        (MBartTokenizer(vocab=PIECES), ("en_XX", "de_DE"), None, "▁a </s> en_XX", "▁b </s> de_DE", "de_DE"),
        (MBart50Tokenizer(vocab=PIECES), ("en_XX", "de_DE"), None, "en_XX ▁a </s>", "de_DE ▁b </s>", "</s>"),
        (
            NllbTokenizer(vocab={piece: i for i, (piece, _) in enumerate(PIECES)}, merges=[]),
            ("eng_Latn", "deu_Latn"),
            2,
            "eng_Latn ▁a </s>",
            "deu_Latn ▁b </s>",
            "</s>",
        ),
    ],
)
def test_tokenizers_of_many_languages_say_which(
    made: Any, codes: tuple[str, str], start: int | None, read: str, learned: str, first: str
) -> None:
    speak(made, *codes)
    two = SequencePairs(made, made, "", None, None, start)
    examples = two.examples(rows(("a", "b")), COLUMNS)
    assert isinstance(examples.targets, Ragged)
    told = [made.convert_ids_to_tokens(row[0].tolist()) for row in (examples.inputs["input_ids"], examples.targets)]
    assert [" ".join(tokens).replace("▁ a", "▁a").replace("▁ b", "▁b") for tokens in told] == [read, learned]
    assert made.convert_ids_to_tokens(two.first_read) == first


def test_languages_are_refused_where_there_are_none() -> None:
    with pytest.raises(RecipeError, match="knows no languages"):
        speak(tokenizer("$A"), "en_XX", None)
