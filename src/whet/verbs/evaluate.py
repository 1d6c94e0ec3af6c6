"""Scores of a fine-tuned model on another labelled file."""

from dataclasses import dataclass
from pathlib import Path

from whet.build import Predictor
from whet.core import Answer, Rows, Scores
from whet.data import columns as columns_of


@dataclass(frozen=True)
class Evaluation:
    """Scores, and the rows and answers that they come from."""

    scores: Scores
    rows: Rows
    answers: list[Answer]


def evaluate(predictor: Predictor, data: str | Path) -> Evaluation:
    """Score the model on a file that has the columns of the training data.

    Raises DataError for a missing column, rows without text or label, and labels that the model does not know.
    """
    rows = predictor.read(data)
    columns = predictor.columns
    columns_of.check(rows, columns)
    rows, _ = predictor.task.usable(rows, columns, way_out="fill them in, or delete these rows")
    scores, answers = predictor.score(rows)
    return Evaluation(scores, rows, answers)
