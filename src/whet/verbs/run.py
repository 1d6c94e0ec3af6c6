"""What ``train`` returns: a finished run that predicts, evaluates and knows its scores."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from whet.build import Predictor, predictor
from whet.core import Answer, Medium, Rows, Scores
from whet.errors import RunFolderError
from whet.protocols import Generating
from whet.run.folder import METRICS, RunFolder
from whet.verbs.evaluate import Evaluation, evaluate
from whet.verbs.predict import predict, rows_of_file, rows_of_media
from whet.verbs.report import write_report


class Run:
    """A finished run, opened from its folder; the folder is all it needs."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = RunFolder.open(Path(folder))
        if not self._folder.finished:
            raise RunFolderError(f"{folder} is not finished; go on with: whet resume {folder}")

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self._folder.path

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``validation``, ``test`` and ``baselines`` scores, ``seconds``, ``peak_memory_bytes``, counts."""
        return self._folder.read(METRICS)

    @property
    def test(self) -> Scores:
        """Scores on the test rows."""
        scores: Scores = self.metrics["test"]
        return scores

    def predict(self, texts: Sequence[str | tuple[str, ...] | list[str]] | str | Path) -> list[Answer]:
        """Answers for texts, pairs of texts, lists of tokens, or the rows of a file."""
        return predict(self._predictor, texts)

    def answer_file(self, path: str | Path) -> tuple[Rows, list[Answer]]:
        """The rows of a file, and the answer for each."""
        rows = rows_of_file(self._predictor, Path(path))
        return rows, self._predictor.answer(rows)

    def answer_media(self, names: Sequence[str | Path]) -> tuple[Rows, list[Answer]]:
        """Files, and all files in folders, as rows, and the answer for each."""
        rows = rows_of_media(self._predictor, names)
        return rows, self._predictor.answer(rows)

    @property
    def medium(self) -> Medium | None:
        """What the files hold that it reads; None where it reads texts."""
        return self._predictor.medium

    @property
    def writes(self) -> bool:
        """Whether its answers are texts."""
        return isinstance(self._predictor.task, Generating)

    @property
    def texts_per_row(self) -> int:
        """1, or 2 for a model of pairs."""
        return 1 if self.writes else len(self._predictor.columns.text)

    def evaluate(self, data: str | Path) -> Evaluation:
        """Scores on a labelled file."""
        return evaluate(self._predictor, data)

    def report(self, out: str | Path | None = None, language: str = "en") -> Path:
        """Write the page about it and return its file; ``report.html`` in its folder if none is named."""
        return write_report(self.folder, out=out, language=language).path

    @cached_property
    def _predictor(self) -> Predictor:
        return predictor(self._folder.recipe(), self._folder.model)

    def __repr__(self) -> str:
        scores = ", ".join(f"{name} {value:.3f}" for name, value in list(self.test.items())[:2])
        return f"Run({str(self.folder)!r}: test {scores})"
