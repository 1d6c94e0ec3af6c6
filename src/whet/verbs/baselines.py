"""What a finished run is compared with: the scores of what needs no fine-tuning."""

from __future__ import annotations

from collections import Counter

import numpy as np
from torch import nn

from whet import metrics
from whet.build import Prepared
from whet.core import Answer, Examples, Rows, Scores
from whet.engine.device import let_go, return_freed_memory
from whet.engine.predict import features, score
from whet.evaluate import tags
from whet.evaluate.baselines import baselines as of_classes
from whet.evaluate.baselines import of_features
from whet.evaluate.untrained import frequencies
from whet.model.parts import parts_of
from whet.protocols import Generating, ReadingFiles, Transcribing

LEARNED = 2000
"""Training rows from which the baseline over features learns at most: each takes a pass through the model."""


def baselines(prepared: Prepared, measured: str) -> dict[str, Scores]:
    """Scores on the ``measured`` rows, by the name of the baseline."""
    train, test = prepared.examples["train"], prepared.examples[measured]
    if prepared.task.problem in ("next_token", "target_text"):
        return {
            "pretrained": _pretrained(prepared, measured),
            "frequencies": frequencies(train, test, _known(prepared)),
            **(_copies(prepared, measured) if prepared.task.problem == "target_text" else {}),
        }
    if prepared.task.problem == "tagging":
        count = len(prepared.values["task"]["labels"])
        counted = {"majority": tags.majority(train, test, count), "words": tags.words(train, test, count)}
        return {name: prepared.task.score(answers, test) for name, answers in counted.items()}
    if prepared.task.problem == "transcript":
        return _of_transcripts(prepared, measured)
    assert isinstance(train.targets, np.ndarray)
    assert isinstance(test.targets, np.ndarray)
    assert prepared.task.problem is not None
    classes = len(prepared.values["task"].get("labels") or [])
    if isinstance(prepared.task, ReadingFiles):
        few = _learned(prepared)
        seen, new = _features(prepared, (train, few), (test, np.arange(len(test))))
        return of_features(prepared.task.problem, seen, train.targets, new, test.targets, classes=classes, learned=few)
    return of_classes(
        prepared.task.problem,
        _texts(prepared.splits["train"], prepared.columns.text),
        train.targets,
        _texts(prepared.splits[measured], prepared.columns.text),
        test.targets,
        classes=classes,
        seed=prepared.settings.seed,
    )


def _features(prepared: Prepared, *sides: tuple[Examples, np.ndarray]) -> list[np.ndarray | None]:
    """(rows, D) what the last layer reads of rows before anything is fine-tuned; None where that is unclear."""
    # The same model for all sides: what lies before its last layer may be drawn anew as well.
    loaded = prepared.task.open_model(prepared.values["model"])
    parts = parts_of(loaded.model)
    answers = parts.answers
    layers = [name for name in parts.linear if f"{name}.weight" in answers]
    if not layers:
        return [None for _ in sides]
    model: nn.Module = loaded.model
    model = model.to(prepared.device)
    found = []
    for part, rows in sides:
        found.append(features(model, layers[-1], prepared.task, part, rows, prepared.device))
        # Batches of another size would be laid beside what those left.
        return_freed_memory()
    let_go(model)
    return found


def _of_transcripts(prepared: Prepared, measured: str) -> dict[str, Scores]:
    """Of an empty text, of the most frequent one, and of the model as it was, where it could write already."""
    task, columns = prepared.task, prepared.columns
    assert isinstance(task, Transcribing)
    assert isinstance(task, Generating)
    wanted = task.references(prepared.splits[measured], columns)
    frequent = Counter(task.references(prepared.splits["train"], columns)).most_common(1)[0][0]
    constant = {"empty": "", "majority": frequent}
    scores = {name: metrics.transcripts([text] * len(wanted), wanted) for name, text in constant.items()}
    loaded = prepared.task.open_model(prepared.values["model"])
    if not loaded.fresh:
        model: nn.Module = loaded.model
        few = _few(prepared, measured)
        scores["pretrained"] = score(
            model.to(prepared.device), prepared.task, prepared.examples[measured], prepared.device
        )
        scores["pretrained"] |= task.compare(task.write(model, loaded.processor, few, columns), few, columns)
        let_go(model)
    return scores


def _pretrained(prepared: Prepared, measured: str) -> Scores:
    """The scores of the model before it was fine-tuned."""
    task, columns = prepared.task, prepared.columns
    model: nn.Module = task.open_model(prepared.values["model"]).model
    scores = score(model.to(prepared.device), task, prepared.examples[measured], prepared.device)
    if task.problem == "target_text":
        assert isinstance(task, Generating)
        few = _few(prepared, measured)
        scores |= task.compare(task.write(model, prepared.loaded.processor, few, columns), few, columns)
    let_go(model)
    return scores


def _copies(prepared: Prepared, measured: str) -> dict[str, Scores]:
    """The scores of sources in place of what should become of them; nothing where no text is compared."""
    assert isinstance(prepared.task, Generating)
    few = _few(prepared, measured)
    copied = [Answer(str(text), {}) for text in few.columns[prepared.columns.text[0]]]
    scores = prepared.task.compare(copied, few, prepared.columns)
    return {"copy": scores} if scores else {}


def _few(prepared: Prepared, measured: str) -> Rows:
    """The rows for which texts are written."""
    assert isinstance(prepared.task, Generating)
    rows = prepared.splits[measured]
    return rows.take(range(min(prepared.task.samples, len(rows))))


def _known(prepared: Prepared) -> int:
    """Tokens of the vocabulary."""
    vocabulary: dict[str, int] = prepared.loaded.processor.get_vocab()
    return 1 + max(vocabulary.values())


def _texts(rows: Rows, columns: tuple[str, ...]) -> list[str]:
    return [" ".join(map(str, texts)) for texts in zip(*(rows.columns[name] for name in columns), strict=True)]


def probe(prepared: Prepared, measured: str) -> dict[str, Scores]:
    """Scores of a linear model over what the frozen body returns; none where answers are not classes or a number."""
    train, test = prepared.examples["train"], prepared.examples[measured]
    problem = prepared.task.problem
    if problem not in ("single_label", "multi_label", "regression"):
        return {}
    assert isinstance(train.targets, np.ndarray)
    assert isinstance(test.targets, np.ndarray)
    few = _learned(prepared)
    seen, new = _features(prepared, (train, few), (test, np.arange(len(test))))
    classes = len(prepared.values["task"].get("labels") or [])
    known = of_features(problem, seen, train.targets, new, test.targets, classes=classes, learned=few)
    return {name: scores for name, scores in known.items() if name == "features"}


def _learned(prepared: Prepared) -> np.ndarray:
    """The training rows that a model over features learns from."""
    few = np.arange(len(prepared.examples["train"]))
    if len(few) <= LEARNED:
        return few
    return np.sort(np.random.default_rng(prepared.settings.seed).choice(few, LEARNED, replace=False))
