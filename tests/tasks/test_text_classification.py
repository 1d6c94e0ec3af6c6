"""Text classification: from rows to batches, from batches to a loss, from outputs to scores and answers."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.conftest import POSITIONS
from whet import catalog
from whet.core import Answer, Batch, Choice, Columns, Examples, Rows
from whet.errors import DataError, RecipeError
from whet.tasks.text_classification import TextClassification

ONE = Columns(("text",), ("label",))
TEXTS = ["a good film", "bad", "so very dull and poor", "the bright book", "a day", "it was bad and dull and mean"]


@pytest.fixture(scope="module")
def processor(tiny_model: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_model)
    return tokenizer


def rows(*values: object, **more: list[object]) -> Rows:
    texts: list[object] = [TEXTS[i % len(TEXTS)] for i in range(len(values))]
    return Rows({"text": texts, "label": list(values), **more}, "data.csv", range(2, len(values) + 2))


def build(**options: Any) -> TextClassification:
    task = catalog.build("task", "text_classification", options)
    assert isinstance(task, TextClassification)
    return task


def fitted(table: Rows, columns: Columns = ONE, **options: Any) -> TextClassification:
    return build(**options).fit_to(table, columns, to_split=False)[0]


def encoded(
    task: TextClassification, table: Rows, processor: PreTrainedTokenizerBase, columns: Columns = ONE
) -> Examples:
    return task.encode(table, columns, processor)


def logits(count: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def mean_loss(task: TextClassification, examples: Examples, values: Tensor, micro_batch: int) -> float:
    """The loss of a step as the engine computes it: sums over micro-batches, divided by the weight of them all."""
    total, weight = 0.0, 0.0
    for start in range(0, len(examples), micro_batch):
        indices = np.arange(start, min(start + micro_batch, len(examples)))
        batch = task.collate(examples, indices)
        total += float(task.loss({"logits": values[indices]}, batch))
        weight += batch.weight
    return total / weight


# --- what is left open --------------------------------------------------------------------------------------------


def test_problem_and_classes_are_found_in_the_rows_and_told() -> None:
    task, choices = build().fit_to(rows("10", "2", "x", "10"), ONE, to_split=False)
    assert (task.problem, task.labels) == ("single_label", ["2", "10", "x"])
    assert choices == [
        Choice("task.problem", "single_label", "inferred", "'label' holds 3 distinct texts"),
        Choice("task.labels", ["2", "10", "x"], "inferred", "3 classes in the rows"),
    ]


def test_what_is_given_is_kept() -> None:
    task, choices = build(problem="single_label", labels=["b", "a", "c"]).fit_to(rows("a", "b"), ONE, to_split=False)
    assert task.labels == ["b", "a", "c"]
    assert [choice.origin for choice in choices] == ["given"]


def test_a_fitted_task_is_built_again_from_its_settings() -> None:
    task = fitted(rows("a", "b", "b"), class_weights="balanced", label_smoothing=0.1, max_length=9)
    assert task.class_weights == {"a": 1.5, "b": 0.75}
    assert build(**catalog.settings(task)) == task
    assert task.fit_to(rows("a", "b", "b"), ONE, to_split=False)[0] == task


def test_regression_has_no_classes() -> None:
    task = fitted(rows(0.5, 1, 2))
    assert (task.problem, task.labels) == ("regression", None)


@pytest.mark.parametrize(
    ("values", "options", "idle"),
    [
        ([0.5, 1], {"label_smoothing": 0.1}, ["label_smoothing"]),
        ([["a"], ["b"]], {"label_smoothing": 0.1}, ["label_smoothing"]),
        ([0.5, 1], {"labels": ["a", "b"], "class_weights": "balanced"}, ["labels", "class_weights"]),
        (
            [0, 1],
            {"problem": "regression", "label_smoothing": 0.1, "labels": ["0", "1"]},
            ["label_smoothing", "labels"],
        ),
    ],
)
def test_options_that_do_not_apply_are_refused_together(
    values: list[object], options: dict[str, Any], idle: list[str]
) -> None:
    with pytest.raises(RecipeError) as caught:
        fitted(rows(*values), **options)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [f"task.{name}" for name in idle]
    assert all("leave it out" in problem for problem in caught.value.problems)


def test_labels_of_the_rows_must_be_among_those_given() -> None:
    with pytest.raises(DataError, match=r"label 'c' in data\.csv, line 4, is not a known class"):
        fitted(rows("a", "b", "c"), labels=["a", "b"])


@pytest.mark.parametrize(
    "options",
    [{"labels": ["a"]}, {"max_length": 3}, {"label_smoothing": 1}, {"class_weights": {"a": 0}}, {"problem": "x"}],
)
def test_options_have_bounds(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=r"^task\."):
        build(**options)


# --- encode -------------------------------------------------------------------------------------------------------


def test_rows_become_tokens_and_targets(processor: PreTrainedTokenizerBase) -> None:
    table = rows("b", "a", "b")
    examples = encoded(fitted(table), table, processor)
    assert examples.lengths.tolist() == [5, 3, 7]
    assert isinstance(examples.targets, np.ndarray)
    assert examples.targets.tolist() == [1, 0, 1]
    assert examples.truncated == 0


def test_rows_without_labels_have_no_targets(processor: PreTrainedTokenizerBase) -> None:
    examples = encoded(fitted(rows("a", "b")), rows("?"), processor, Columns(("text",), ()))
    assert examples.targets is None


def test_pairs_are_encoded_together(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b", other=["good", "the bad film"])
    columns = Columns(("text", "other"), ("label",))
    examples = encoded(fitted(table, columns), table, processor, columns)
    assert examples.lengths.tolist() == [7, 7]
    assert examples.inputs["token_type_ids"][1].tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_long_rows_are_cut_and_counted(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b", "a")
    examples = encoded(fitted(table, max_length=4), table, processor)
    assert examples.lengths.tolist() == [4, 3, 4]
    assert examples.truncated == 2


def test_more_than_the_model_reads_is_refused(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b")
    with pytest.raises(RecipeError, match=f"choose at most {POSITIONS}"):
        encoded(fitted(table, max_length=POSITIONS + 1), table, processor)


def test_a_label_that_training_had_not_is_refused(processor: PreTrainedTokenizerBase) -> None:
    with pytest.raises(DataError, match=r"label 'baad' in data\.csv, line 3, .* did you mean 'bad'\?"):
        encoded(fitted(rows("good", "bad")), rows("good", "baad"), processor)


# --- collate ------------------------------------------------------------------------------------------------------


def test_a_batch_is_as_wide_as_its_longest_row_and_says_what_is_padding(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b", "a", "b")
    batch = fitted(table).collate(encoded(fitted(table), table, processor), np.array([1, 3]))
    assert batch.inputs["input_ids"].shape == (2, 5)
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert batch.inputs["input_ids"][0, 3:].tolist() == [processor.pad_token_id] * 2
    assert batch.targets is not None
    assert batch.targets.tolist() == [1, 1]
    assert (batch.weight, batch.rows, batch.tokens) == (2.0, 2, 8)


def test_a_batch_weighs_what_the_classes_of_its_rows_weigh(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b", "b", "b")
    task = fitted(table, class_weights={"a": 3.0, "b": 0.5})
    assert task.collate(encoded(task, table, processor), np.arange(3)).weight == 4.0


# --- loss ---------------------------------------------------------------------------------------------------------

SINGLE = ["a", "b", "c", "a", "a", "b", "a"]


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 7])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, "balanced", {"a": 0.1, "b": 5.0, "c": 2.0}])
def test_the_loss_of_a_step_is_that_of_torch_however_it_is_divided(
    processor: PreTrainedTokenizerBase, micro_batch: int, smoothing: float, weights: Any
) -> None:
    table = rows(*SINGLE)
    task = fitted(table, class_weights=weights, label_smoothing=smoothing)
    examples = encoded(task, table, processor)
    values = logits(7, 3)
    given = task.class_weights
    expected = functional.cross_entropy(
        values,
        torch.tensor(["abc".index(label) for label in SINGLE]),
        weight=torch.tensor([given[name] for name in "abc"]) if isinstance(given, dict) else None,
        label_smoothing=smoothing,
    )
    assert mean_loss(task, examples, values, micro_batch) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_several_labels_are_judged_one_by_one(processor: PreTrainedTokenizerBase, micro_batch: int) -> None:
    columns = Columns(("text",), ("x", "y"))
    table = rows(0, 0, 0, x=[1, 0, 1], y=[0, 0, 1])
    weights = {"x": 2.0, "y": 0.5}
    task = fitted(table, columns, class_weights=weights)
    values = logits(3, 2)
    expected = functional.binary_cross_entropy_with_logits(
        values, torch.tensor([[1.0, 0], [0, 0], [1, 1]]), weight=torch.tensor([2.0, 0.5])
    )
    examples = encoded(task, table, processor, columns)
    assert mean_loss(task, examples, values, micro_batch) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("micro_batch", [1, 3])
def test_numbers_are_judged_by_their_squared_error(processor: PreTrainedTokenizerBase, micro_batch: int) -> None:
    table = rows(0.5, -1, 2)
    task = fitted(table)
    values = logits(3, 1)
    expected = functional.mse_loss(values[:, 0], torch.tensor([0.5, -1, 2]))
    assert mean_loss(task, encoded(task, table, processor), values, micro_batch) == pytest.approx(
        float(expected), rel=1e-6
    )


def test_outputs_of_little_precision_are_judged_in_full_precision(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b")
    task = fitted(table)
    batch = task.collate(encoded(task, table, processor), np.arange(2))
    values = logits(2, 2).to(torch.bfloat16)
    loss = task.loss({"logits": values}, batch)
    assert loss.dtype == torch.float32
    assert float(loss) == float(task.loss({"logits": values.float()}, batch))


# --- scores and answers -------------------------------------------------------------------------------------------


def test_predictions_are_probabilities_of_the_classes(processor: PreTrainedTokenizerBase) -> None:
    values, unlabelled = logits(4, 3), Batch({}, None, 4.0, 4, 4)
    single, loss = fitted(rows("a", "b", "c")).predict({"logits": values}, unlabelled)
    np.testing.assert_allclose(single, values.softmax(-1).numpy())
    assert loss is None
    several, _ = fitted(rows(["a"], ["b"], ["c"])).predict({"logits": values}, unlabelled)
    np.testing.assert_allclose(several, values.sigmoid().numpy())
    numbers, _ = fitted(rows(0.5, 1)).predict({"logits": values[:, :1]}, unlabelled)
    np.testing.assert_allclose(numbers, values[:, 0].numpy())


def test_the_loss_of_labelled_rows_comes_with_their_predictions(processor: PreTrainedTokenizerBase) -> None:
    table = rows("a", "b")
    task = fitted(table)
    batch = task.collate(encoded(task, table, processor), np.arange(2))
    outputs = {"logits": logits(2, 2)}
    assert task.predict(outputs, batch)[1] == pytest.approx(float(task.loss(outputs, batch)))


@pytest.mark.parametrize(
    ("values", "perfect"),
    [
        (["a", "b", "c", "a"], np.eye(3)[[0, 1, 2, 0]]),
        (["a", "b", "b"], np.eye(2)[[0, 1, 1]]),
        ([["a"], ["b", "a"], []], np.array([[1, 0], [1, 1], [0, 0]])),
        ([0.5, 1.5, 3], np.array([0.5, 1.5, 3])),
    ],
)
def test_the_scores_are_those_that_are_promised_and_perfect_answers_are_perfect(
    processor: PreTrainedTokenizerBase, values: list[object], perfect: np.ndarray
) -> None:
    table = rows(*values)
    task = fitted(table)
    scores = task.score(perfect, encoded(task, table, processor))
    assert {*scores, "loss"} == {*task.metrics}
    assert scores[task.metric] == pytest.approx(1)
    assert all(
        scores[name] == pytest.approx(1 if more else 0, abs=1e-6)
        for name, more in task.metrics.items()
        if name != "loss"
    )


def test_metrics_of_two_classes_are_not_promised_for_three() -> None:
    assert {"f1", "roc_auc"} <= fitted(rows("a", "b")).metrics.keys()
    assert not {"f1", "roc_auc"} & fitted(rows("a", "b", "c")).metrics.keys()


def test_answers_name_the_classes() -> None:
    task = fitted(rows("yes", "no", "yes"))
    assert task.answer(np.array([[0.75, 0.25]])) == [Answer("no", {"no": 0.75, "yes": 0.25})]
    several = dataclasses.replace(task, problem="multi_label")
    assert several.answer(np.array([[0.5, 0.25]])) == [Answer(["no"], {"no": 0.5, "yes": 0.25})]
    assert fitted(rows(0.5, 1)).answer(np.array([0.25])) == [Answer(0.25, {})]


def test_no_rows_have_no_answers(processor: PreTrainedTokenizerBase) -> None:
    task = fitted(rows("a", "b"))
    examples = encoded(task, rows(), processor, Columns(("text",), ()))
    assert len(examples) == 0
    assert task.answer(np.empty((0,))) == []
