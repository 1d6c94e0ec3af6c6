from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.contracts.arena import TensorTask
from tests.engine.jobs import BlindTask, WeightedTask, changed, job
from whet.core import Examples
from whet.engine.device import tokens_at_once
from whet.engine.predict import predict, score

CPU = torch.device("cpu")
LENGTHS = np.array([5, 2000, 7, 1500, 3, 900, 4000, 5000, 2, 60, 5, 1])
"""So long that they take several batches, and in no order."""


def setting(kind: type[TensorTask] = TensorTask) -> tuple[torch.nn.Module, TensorTask, Examples]:
    """A model, a task, and examples of very different lengths."""
    made = job(task=changed(kind))
    assert isinstance(made.task, TensorTask)
    return made.model, made.task, replace(made.train, lengths=LENGTHS)


def test_predictions_come_in_the_order_of_the_rows() -> None:
    model, task, examples = setting()
    model.eval()
    with torch.no_grad():
        expected = model(**task.inputs).logits.softmax(-1).numpy()
    predictions = predict(model, task, examples, CPU)
    assert predictions.values == pytest.approx(expected, abs=1e-6)


def test_batches_stay_within_the_budget_of_tokens() -> None:
    model, task, examples = setting()
    seen: list[int] = []
    model.register_forward_hook(lambda *call: seen.append(len(call[2].logits)))
    predict(model, task, examples, CPU)
    budget = tokens_at_once(CPU)
    expected, left = [], sorted(LENGTHS.tolist(), reverse=True)
    while left:
        expected.append(min(len(left), max(1, budget // left[0])))
        left = left[expected[-1] :]
    assert seen == expected
    assert len(seen) > 3


@pytest.mark.parametrize("kind", [TensorTask, WeightedTask])
def test_the_loss_is_the_mean_over_all_weights_however_the_rows_are_batched(kind: type[TensorTask]) -> None:
    model, task, examples = setting(kind)
    together = task.collate(examples, np.arange(len(examples)))
    with torch.no_grad():
        expected = float(task.loss(model.eval()(**together.inputs), together)) / together.weight
    assert predict(model, task, examples, CPU).loss == pytest.approx(expected, abs=1e-6)


def test_the_model_is_left_in_eval_mode_and_without_gradients() -> None:
    model, task, examples = setting()
    model.train()
    predict(model, task, examples, CPU)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_rows_without_targets_have_predictions_and_no_loss() -> None:
    class Unlabelled(TensorTask):
        def collate(self, examples: Examples, indices: object) -> object:  # type: ignore[override]
            return replace(super().collate(examples, indices), targets=None)  # type: ignore[arg-type]

    model, task, examples = setting(Unlabelled)
    predictions = predict(model, task, examples, CPU)
    assert predictions.loss is None
    assert predictions.values.shape == (12, 3)


def test_no_rows_have_no_predictions() -> None:
    model, task, _ = setting()
    nothing = Examples({}, None, np.zeros(0, dtype=np.int64), {})
    predictions = predict(model, task, nothing, CPU)
    assert (predictions.values.shape, predictions.loss) == ((0,), None)


def test_scores_are_those_of_the_task_and_the_loss() -> None:
    model, task, examples = setting()
    predictions = predict(model, task, examples, CPU)
    expected = task.score(predictions.values, examples) | {"loss": predictions.loss}
    assert score(model, task, examples, CPU) == expected


def test_predictions_that_are_not_finite_are_not_scored() -> None:
    model, task, examples = setting(BlindTask)
    with pytest.raises(FloatingPointError, match="of 12 rows"):
        score(model, BlindTask(task.inputs, task.targets, value=float("inf")), examples, CPU)
