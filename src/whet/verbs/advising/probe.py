"""How near the data is to what a model was pre-trained on: a linear model over what its frozen body returns.

What the body returns goes through the cache of frozen layers, so a later run of ``head``, or of the first stage of
``lp_ft``, begins with it. Only training rows are looked at, each answered by a linear model that has not seen it.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch

from whet import recipe as recipes
from whet.build import Prepared, prepare
from whet.core import Problem, Scores
from whet.engine.cache import Cached, Side, open_cache
from whet.engine.job import StopRequest
from whet.evaluate.baselines import of_features
from whet.model.freeze import apply, set_training_modes, training_modes
from whet.planning.advise import Probe

T = TypeVar("T")

ROWS = 2000
"""Training rows that are looked at, at most."""
FOLDS = 5
"""Parts of them, each of which is answered by a linear model of the others."""
AT_ONCE = 256
"""Rows that are read back at a time."""
ANSWERED: dict[str, str] = {"single_label": "accuracy", "multi_label": "micro_f1", "regression": "r2"}
"""Problems that can be probed, with the metric that tells; 1 is every row right."""


def probe(raw: dict[str, Any]) -> Probe | None:
    """What a linear model gains on the data of a recipe; None where there is nothing that it could answer.

    ``raw`` are the plain values of a recipe; its method and training are left aside. Raises what ``prepare`` raises.
    """
    asked = {key: value for key, value in raw.items() if key not in ("method", "training", "augment", "surgery")}
    prepared = prepare(recipes.parse(asked | {"method": "head"}))
    problem, train = prepared.task.problem, prepared.examples["train"]
    if problem is None or problem not in ANSWERED or len(train) < 2 * FOLDS:
        return None
    rows = np.random.default_rng(prepared.settings.seed).permutation(len(train))[:ROWS]
    features = _features(prepared, rows)
    if features is None:
        return None
    assert isinstance(train.targets, np.ndarray)
    classes = len(prepared.values["task"].get("labels") or [])
    folds = _folds(problem, features, train.targets[rows], classes)
    metric = ANSWERED[problem]
    gained, majority = (float(np.mean([fold[name][metric] for fold in folds])) for name in ("features", "majority"))
    return Probe(gained, majority, len(rows))


def _folds(problem: Problem, features: np.ndarray, targets: np.ndarray, classes: int) -> list[dict[str, Scores]]:
    """Scores of each part of the rows, which are in random order."""
    fold = np.arange(len(features)) % FOLDS
    return [
        of_features(
            problem,
            features[fold != number],
            targets[fold != number],
            features[fold == number],
            targets[fold == number],
            classes=classes,
        )
        for number in range(FOLDS)
    ]


def _features(prepared: Prepared, rows: np.ndarray) -> np.ndarray | None:
    """(rows, D) what the head reads of training rows, from the cache; None where nothing can be stored."""
    job = replace(prepared.job(None, StopRequest()), augmentation=None)
    mask = prepared.stages[0].mask
    job.model.to(job.device)
    apply(job.model, job.parts, mask)
    set_training_modes(job.model, training_modes(job.model, job.parts, mask))
    used: dict[Side, np.ndarray] = {"train": rows}
    with job.arithmetic.attending(job.model), job.task.computing(job.model):
        cached = _last(open_cache(job, mask, used, 0))
    if cached is None:
        return None
    parts = [rows[start : start + AT_ONCE] for start in range(0, len(rows), AT_ONCE)]
    return np.concatenate([_read(cached, part, job.train.lengths[part]) for part in parts])


def _read(cached: Cached, rows: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(rows, D) stored outputs of rows: of each token's, or each patch's, the mean."""
    longest = int(lengths.max())
    real = torch.from_numpy(np.arange(longest) < lengths[:, None])
    vectors = []
    tensors = cached.store.gather(cached.places["train"][rows], longest)
    for form, tensor in zip(cached.store.forms, tensors, strict=True):
        if not tensor.is_floating_point():
            continue
        if "length" in form.axes:
            total = (tensor.float().flatten(2) * real[..., None]).sum(dim=1)
            vectors.append(total / real.sum(dim=1, keepdim=True))
        else:
            vectors.append(tensor.float().reshape(len(rows), form.parts, -1).mean(dim=1))
    return torch.cat(vectors, dim=1).numpy()


def _last(events: Generator[object, None, T]) -> T:
    """What a generator returns."""
    while True:
        try:
            next(events)
        except StopIteration as ended:
            value: T = ended.value
            return value
