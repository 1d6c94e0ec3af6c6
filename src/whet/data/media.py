"""Which columns name pictures or sounds, and where the files are. Knows no file format but by its ending."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from whet.core import Rows
from whet.data.problems import at
from whet.errors import DataError, did_you_mean

Medium: TypeAlias = Literal["picture", "sound"]

SUFFIXES: dict[Medium, tuple[str, ...]] = {
    "picture": (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"),
    "sound": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
}
"""Endings of files by what they hold."""

FILE = "file"
"""Column of the paths, where a folder for each class is the data set."""

_SAMPLE = 200


def medium_of(path: str | Path) -> Medium | None:
    """What a file holds, by its ending."""
    suffix = Path(path).suffix.lower()
    return next((medium for medium, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def media_column(rows: Rows) -> tuple[str, Medium] | None:
    """The first column whose cells all name pictures, or all sounds; None where there is none."""
    for name, values in rows.columns.items():
        named = [value for value in values[:_SAMPLE] if value is not None]
        media = {medium_of(value) if isinstance(value, str) else None for value in named}
        if len(media) == 1 and (medium := media.pop()) is not None:
            return name, medium
    return None


def located(rows: Rows, column: str) -> list[Path]:
    """(N,) the files that a column names, from the folder of its table on; raises DataError naming the absent ones."""
    folder = rows.folder or Path()
    paths = [folder / str(value) for value in rows.columns[column]]
    absent = [i for i, path in enumerate(paths) if not path.is_file()]
    if absent:
        first, where = paths[absent[0]], at(rows.source, [rows.places[i] for i in absent])
        raise DataError(
            f"{len(absent)} of the {len(paths)} files that column '{column}' of {rows.source} names are not there "
            f"({where}), the first is {first}{_near(first)}; paths start at {folder}"
        )
    return paths


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f", and there is no folder {path.parent}"
    hint = did_you_mean(path.name, [file.name for file in path.parent.iterdir()])
    return hint if "did you mean" in hint else ""


def class_files(folder: Path) -> tuple[list[Path], Sequence[str]]:
    """Files of pictures or sounds in the folders of a folder, in the order of their names, and the kinds found."""
    files = sorted(path for path in folder.glob("[!.]*/[!.]*") if medium_of(path) is not None)
    return files, sorted({str(medium_of(path)) for path in files})
