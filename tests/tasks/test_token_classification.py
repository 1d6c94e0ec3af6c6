"""Tagging: from rows to targets, from probabilities to tags, entities and scores."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from whet import catalog
from whet.core import Columns, Entity, Examples, Ragged, Rows
from whet.data.next_tokens import UNLEARNED
from whet.errors import DataError
from whet.evaluate import tags
from whet.tasks.token_classification import TokenClassification

WORDS = Columns(("tokens",), ("tags",))


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerBase:
    """A tokenizer whose words break into pieces of two letters, and which knows no hyphen."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import Replace
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    pieces = [a + b for a in "abcd" for b in "abcd"]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcd.,", *pieces, *(f"##{one}" for one in [*pieces, *"abcd"])]
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = Replace("-", "")
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=16
    )


def rows(tokens: list[Any], labels: list[Any], columns: Columns = WORDS) -> Rows:
    return Rows({columns.text[0]: tokens, columns.label[0]: labels}, "data.jsonl", range(1, len(tokens) + 1))


def fitted(table: Rows, columns: Columns = WORDS, **options: Any) -> TokenClassification:
    task = catalog.build("task", "token_classification", options).fit_to(table, columns, to_split=False)[0]
    assert isinstance(task, TokenClassification)
    return task


def certain(task: TokenClassification, examples: Examples, *named: list[str]) -> Ragged:
    """Probabilities of one for these tags of the tokens that begin a unit, else for whatever comes first."""
    assert task.labels is not None
    answers = [np.zeros(length, dtype=int) for length in examples.lengths]
    for row, names in enumerate(named):
        answers[row][examples.beside["positions"][row]] = [task.labels.index(name) for name in names]
    eye = np.eye(len(task.labels), dtype=np.float32)
    return Ragged(eye[np.concatenate(answers)], examples.inputs["input_ids"].starts)


def test_the_first_token_of_each_word_is_learned(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["abab", "a"], ["b", "ababab"]], [["B-x", "O"], ["O", "B-x"]])
    task = fitted(table)
    assert task.labels == ["O", "B-x"]
    examples = task.encode(table, WORDS, processor)
    assert isinstance(examples.targets, Ragged)
    no = UNLEARNED
    assert [row.tolist() for row in map(examples.targets.__getitem__, range(2))] == [
        [no, 1, no, 0, no],
        [no, 0, 1, no, no, no],
    ]
    batch = task.collate(examples, np.arange(2))
    assert (batch.weight, batch.tokens) == (4.0, 11)
    assert batch.targets is not None
    assert batch.targets.shape == (2, 6)


def test_all_tokens_of_a_word_are_learned_where_that_is_asked(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["abab", "a"], ["b"]], [["B-x", "O"], ["I-x"]])
    examples = fitted(table, learn="all").encode(table, WORDS, processor)
    assert isinstance(examples.targets, Ragged)
    assert examples.targets[0].tolist() == [UNLEARNED, 1, 2, 0, UNLEARNED]


def test_words_in_which_nothing_is_read_are_outside_and_break_nothing(processor: PreTrainedTokenizerBase) -> None:
    tokens = [["ab", "-", "", "cd", "a\u00a0b"]]
    table = rows(tokens, [["B-x", "I-x", "I-x", "I-x", "O"]])
    task = fitted(table)
    examples = task.encode(table, WORDS, processor)
    assert examples.beside["firsts"][0].tolist() == [0, 3, 4]
    right = certain(task, examples, ["B-x", "I-x", "O"])
    assert task.score(right, examples) == {"f1": 1, "precision": 1, "recall": 1, "token_accuracy": 1}
    assert task.mark(right, examples, table, WORDS)[0].label == ["B-x", "I-x", "I-x", "I-x", "O"]
    apart = certain(task, examples, ["B-x", "O", "B-x"])
    assert task.mark(apart, examples, table, WORDS)[0].label == ["B-x", "O", "O", "O", "B-x"]


def test_rows_that_are_too_long_lose_their_end_and_count_as_missed(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["a", "b", "c"], ["d"]], [["B-x", "O", "B-x"], ["O"]])
    task = fitted(table, max_length=4)
    examples = task.encode(table, WORDS, processor)
    assert examples.truncated == 1
    scores = task.score(certain(task, examples, ["B-x", "O"], ["O"]), examples)
    assert (scores["precision"], scores["recall"]) == (1, 0.5)
    assert task.mark(certain(task, examples, ["B-x", "O"], ["O"]), examples, table, WORDS)[0].label == ["B-x", "O", "O"]


def test_a_row_of_nothing_that_can_be_read_is_named(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["a"], ["-", "--"]], [["B-x"], ["O", "O"]])
    with pytest.raises(DataError, match="reads nothing in the text of line 2"):
        fitted(table).encode(table, WORDS, processor)


def test_a_tag_that_training_had_not_is_named(processor: PreTrainedTokenizerBase) -> None:
    task = fitted(rows([["a", "b"]], [["B-per", "O"]]))
    with pytest.raises(DataError, match=r"label 'B-pers' in data\.jsonl, line 1, .*did you mean 'B-per'"):
        task.encode(rows([["a"]], [["B-pers"]]), WORDS, processor)


def test_one_tag_alone_teaches_nothing() -> None:
    with pytest.raises(DataError, match="the only tag is 'O'"):
        fitted(rows([["a"], ["b"]], [["O"], ["O"]]))


@pytest.mark.parametrize("form", ["pieces", "spans"])
def test_pieces_and_spans_are_answered_in_characters(form: str, processor: PreTrainedTokenizerBase) -> None:
    text = "ab cd abab."
    if form == "pieces":
        columns = WORDS
        table = rows([list(text)], [["O"] * 3 + ["B-x", "I-x", "O", "O", "O", "B-y", "I-y", "O"]])
    else:
        columns = Columns(("text",), ("entities",))
        spans = [{"start": 8, "end": 10, "label": "y"}, {"start": 3, "end": 5, "label": "x"}]
        table = rows([text], [spans], columns)
    task = fitted(table, columns)
    assert task.form == form
    examples = task.encode(table, columns, processor)
    # ab, cd, ab, ##ab, and the full stop: a token is learned by the character that it begins with.
    assert examples.beside["firsts"][0].tolist() == [0, 3, 6, 8, 10]
    assert examples.beside["lasts"][0].tolist() == [2, 5, 8, 10, 11]
    right = certain(task, examples, ["O", "B-x", "O", "B-y", "O"])
    assert task.score(right, examples) == {"f1": 1, "precision": 1, "recall": 1, "token_accuracy": 1}
    # A part over several tokens takes in the spaces between them.
    wide = certain(task, examples, ["O", "B-x", "I-x", "I-x", "O"])
    asked = Rows({columns.text[0]: [text]}, "asked", [1])
    unlabelled = task.encode(asked, Columns(columns.text, ()), processor)
    assert task.mark(wide, unlabelled, asked, columns)[0].label == [Entity("cd abab", "x", 3, 10, 1.0)]


def test_sentences_are_answered_in_their_own_words(processor: PreTrainedTokenizerBase) -> None:
    task = fitted(rows([["a", "b"]], [["B-x", "I-x"]]), labels=["O", "B-x", "I-x"])
    asked = Rows({"tokens": ["ab cd, a."]}, "asked", [1])
    examples = task.encode(asked, Columns(("tokens",), ()), processor)
    found = task.mark(certain(task, examples, ["B-x", "I-x", "O", "B-x", "O"]), examples, asked, WORDS)
    assert found[0].label == [Entity("ab cd", "x", 0, 5, 1.0), Entity("a", "x", 7, 8, 1.0)]


def test_plain_tags_are_scored_as_classes_and_told_word_by_word(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["a", "b", "."]], [["N", "V", "P"]])
    task = fitted(table)
    examples = task.encode(table, WORDS, processor)
    scores = task.score(certain(task, examples, ["N", "N", "P"]), examples)
    assert scores["token_accuracy"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert task.metric == "token_accuracy"
    asked = Rows({"tokens": ["a ."]}, "asked", [1])
    examples = task.encode(asked, Columns(("tokens",), ()), processor)
    found = task.mark(certain(task, examples, ["N", "P"]), examples, asked, WORDS)
    assert found[0].label == [Entity("a", "N", 0, 1, 1.0), Entity(".", "P", 2, 3, 1.0)]


@pytest.mark.parametrize("weights", [None, {"O": 0.5, "B-x": 2.0}])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_mean_over_the_words_however_a_step_is_divided(
    processor: PreTrainedTokenizerBase, weights: dict[str, float] | None, smoothing: float
) -> None:
    table = rows([["abab", "a"], ["b", "ab", "cdcd"], ["a"]], [["B-x", "O"], ["O", "O", "B-x"], ["O"]])
    task = fitted(table, class_weights=weights, label_smoothing=smoothing)
    examples = task.encode(table, WORDS, processor)
    logits = torch.randn(3, 6, 2, generator=torch.Generator().manual_seed(0))
    whole = task.collate(examples, np.arange(3))
    assert whole.targets is not None
    weight = None if weights is None else torch.tensor([0.5, 2.0])
    learned = whole.targets >= 0
    expected = functional.cross_entropy(logits[learned], whole.targets[learned], weight, label_smoothing=smoothing)
    parts = [(np.array([i]), logits[i : i + 1, : examples.lengths[i]]) for i in range(3)]
    batches = [(task.collate(examples, indices), values) for indices, values in parts]
    total = sum(float(task.loss({"logits": values}, batch)) for batch, values in batches)
    assert total / sum(batch.weight for batch, _ in batches) == pytest.approx(float(expected), rel=1e-5)


def test_predictions_keep_what_is_no_padding(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["a"], ["b", "ab", "cdcd"]], [["B-x"], ["O", "O", "B-x"]])
    task = fitted(table)
    batch = task.collate(task.encode(table, WORDS, processor), np.array([1, 0]))
    logits = torch.randn(2, 6, 2, generator=torch.Generator().manual_seed(0))
    kept, loss = task.predict({"logits": logits}, batch)
    assert loss is not None
    np.testing.assert_allclose(kept[0], logits[0].softmax(-1).numpy(), rtol=1e-6)
    np.testing.assert_allclose(kept[1], logits[1, :3].softmax(-1).numpy(), rtol=1e-6)


def test_the_baselines_count_words(processor: PreTrainedTokenizerBase) -> None:
    table = rows([["ab", "cd", "ab"], ["ab", "abab", "."]], [["B-x", "O", "O"], ["B-x", "B-x", "O"]])
    task = fitted(table)
    train = task.encode(table, WORDS, processor)
    other = rows([["cd", "abab", "ab", "d"]], [["O", "B-x", "O", "B-x"]])
    test = task.encode(other, WORDS, processor)
    assert task.mark(tags.words(train, test, 2), test, other, WORDS)[0].label == ["O", "B-x", "B-x", "O"]
    assert task.mark(tags.majority(train, test, 2), test, other, WORDS)[0].label == ["O"] * 4
