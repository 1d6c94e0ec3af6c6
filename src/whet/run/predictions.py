"""The table of predictions in a run folder."""

from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from whet.core import Answer, Entity, Rows
from whet.data.media import shown


def write_predictions(rows: Rows, answers: list[Answer], path: Path) -> None:
    """The rows with their answers; a column of the data that is called like one of ours keeps its name."""
    table = {name: [_cell(value) for value in values] for name, values in rows.columns.items()}
    added: dict[str, list[object]] = {
        "prediction": [_plain(answer.label) for answer in answers],
        "scores": [list(answer.scores.values()) for answer in answers],
    }
    for name, values in added.items():
        free = name
        while free in table:
            free = f"whet_{free}"
        table[free] = values
    pq.write_table(pa.table(table), path)


def _plain(label: object) -> object:
    return [asdict(one) if isinstance(one, Entity) else one for one in label] if isinstance(label, list) else label


def _cell(value: object) -> object:
    return value if isinstance(value, list) or value is None else shown(value)
