"""Several fine-tuned adapters on one base model, which is in memory once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whet.build import Predictor, beside, predictor
from whet.core import Answer
from whet.errors import RunFolderError, did_you_mean
from whet.model.files import ADAPTER_CONFIG
from whet.run.folder import RunFolder
from whet.verbs.evaluate import Evaluation, evaluate
from whet.verbs.predict import predict


class Adapters:
    """Runs whose adapters share a base model: asked by name, switched without reading the base again.

    >>> adapters = whet.Adapters("runs/topics", "runs/tone")                   # doctest: +SKIP
    >>> adapters.predict("tone", ["Thank you so much!"])                       # doctest: +SKIP

    Raises RunFolderError for a run that left no adapter, ModelError for adapters of another base or another kind.
    """

    def __init__(self, *runs: str | Path) -> None:
        folders = [RunFolder.open(Path(run)) for run in runs]
        if not folders:
            raise RunFolderError("name the run folders of one adapter at least")
        whole = [folder.path for folder in folders if not (folder.model / ADAPTER_CONFIG).is_file()]
        if whole:
            raise RunFolderError(
                *(f"{path} holds a whole model and no adapter; open it by itself with whet.Run" for path in whole)
            )
        first = predictor(folders[0].recipe(), folders[0].model)
        self._model: Any = first.model
        self._predictors: dict[str, Predictor] = {folders[0].path.name: first}
        self._inner = {folders[0].path.name: "default"}
        for number, folder in enumerate(folders[1:], 2):
            name = folder.path.name if folder.path.name not in self._inner else f"{folder.path.name}-{number}"
            # A name of peft's own: theirs may hold a dot, or a part of a layer's name.
            self._inner[name] = f"whet{number}"
            self._predictors[name] = beside(first, folder.recipe(), folder.model, self._inner[name])

    @property
    def names(self) -> list[str]:
        """What each adapter is called: the name of its run folder."""
        return list(self._predictors)

    def predict(self, name: str, texts: Sequence[str | tuple[str, ...]] | str | Path) -> list[Answer]:
        """Answers of one adapter."""
        return predict(self._chosen(name), texts)

    def evaluate(self, name: str, data: str | Path) -> Evaluation:
        """Scores of one adapter on a labelled file."""
        return evaluate(self._chosen(name), data)

    def _chosen(self, name: str) -> Predictor:
        if name not in self._predictors:
            raise RunFolderError(f"no adapter is called '{name}'{did_you_mean(name, self._predictors)}")
        self._model.set_adapter(self._inner[name])
        self._model.eval()
        return self._predictors[name]
