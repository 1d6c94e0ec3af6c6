"""What a finished run is compared with: the scores of what needs no fine-tuning."""

from __future__ import annotations

import numpy as np
from torch import nn

from whet.build import Prepared
from whet.core import Rows, Scores
from whet.engine.predict import score
from whet.evaluate.baselines import baselines as of_classes
from whet.evaluate.untrained import frequencies


def baselines(prepared: Prepared, measured: str) -> dict[str, Scores]:
    """Scores on the ``measured`` rows, by the name of the baseline."""
    train, test = prepared.examples["train"], prepared.examples[measured]
    if prepared.task.problem == "next_token":
        return {
            "pretrained": _pretrained(prepared, measured),
            "frequencies": frequencies(train, test, _known(prepared)),
        }
    assert isinstance(train.targets, np.ndarray)
    assert isinstance(test.targets, np.ndarray)
    assert prepared.task.problem is not None
    return of_classes(
        prepared.task.problem,
        _texts(prepared.splits["train"], prepared.columns.text),
        train.targets,
        _texts(prepared.splits[measured], prepared.columns.text),
        test.targets,
        classes=len(prepared.values["task"].get("labels") or []),
        seed=prepared.settings.seed,
    )


def _pretrained(prepared: Prepared, measured: str) -> Scores:
    """The scores of the model before it was fine-tuned."""
    model: nn.Module = prepared.task.open_model(prepared.values["model"]).model
    return score(model.to(prepared.device), prepared.task, prepared.examples[measured], prepared.device)


def _known(prepared: Prepared) -> int:
    """Tokens of the vocabulary."""
    vocabulary: dict[str, int] = prepared.loaded.processor.get_vocab()
    return 1 + max(vocabulary.values())


def _texts(rows: Rows, columns: tuple[str, ...]) -> list[str]:
    return [" ".join(map(str, texts)) for texts in zip(*(rows.columns[name] for name in columns), strict=True)]
