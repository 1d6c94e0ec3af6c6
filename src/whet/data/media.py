"""Which columns hold pictures or sounds, and where their files are. Knows a format by its ending or its first bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whet.core import Medium, Rows
from whet.data.problems import at
from whet.errors import DataError, did_you_mean

SUFFIXES: dict[Medium, tuple[str, ...]] = {
    "picture": (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"),
    "sound": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
}
"""Endings of files by what they hold."""

FILE = "file"
"""Column of the paths, where a folder for each class is the data set."""

_SAMPLE = 200
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"P5", b"P6")
_SOUNDS = (b"fLaC", b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"FORM")


def medium_of(path: str | Path) -> Medium | None:
    """What a file holds, by its ending."""
    suffix = Path(path).suffix.lower()
    return next((medium for medium, suffixes in SUFFIXES.items() if suffix in suffixes), None)


def medium_of_cell(cell: object) -> Medium | None:
    """What a cell holds or names: a path, the bytes of a file, or both as ``datasets`` keeps them."""
    if isinstance(cell, str):
        return medium_of(cell)
    held = content_of(cell)
    if isinstance(held, bytes):
        return _medium_of_bytes(held) or (medium_of(name) if (name := _name_of(cell)) else None)
    return medium_of(held) if held else None


def content_of(cell: object) -> bytes | str | None:
    """The bytes that a cell holds, or else the path that it names."""
    if isinstance(cell, dict):
        held = cell.get("bytes")
        return held if isinstance(held, bytes) else _name_of(cell)
    return cell if isinstance(cell, bytes | str) else None


def shown(cell: object) -> str:
    """A cell as a table or a message can show it."""
    held = content_of(cell)
    if isinstance(held, bytes):
        return _name_of(cell) or f"{len(held):,} bytes"
    return str(cell) if held is None else held


def media_column(rows: Rows) -> tuple[str, Medium] | None:
    """The first column whose cells all hold or name pictures, or all sounds; None where there is none."""
    for name, values in rows.columns.items():
        media = {medium_of_cell(value) for value in values[:_SAMPLE] if value is not None}
        if len(media) == 1 and (medium := media.pop()) is not None:
            return name, medium
    return None


def located(rows: Rows, column: str) -> list[Path]:
    """(N,) the files that a column names, from the folder of its table on; raises DataError naming the absent ones."""
    paths = [path_of(rows, str(value)) for value in rows.columns[column]]
    absent = [i for i, path in enumerate(paths) if not path.is_file()]
    if absent:
        first, where = paths[absent[0]], at(rows.source, [rows.places[i] for i in absent])
        raise DataError(
            f"{len(absent)} of the {len(paths)} files that column '{column}' of {rows.source} names are not there "
            f"({where}), the first is {first}{near(first)}; paths start at {rows.folder or Path()}"
        )
    return paths


def path_of(rows: Rows, name: str) -> Path:
    """The file that a cell names, from the folder of its table on."""
    return (rows.folder or Path()) / name


def near(path: Path) -> str:
    """The tail of a message about an absent file: the nearest name there is."""
    if not path.parent.is_dir():
        return f", and there is no folder {path.parent}"
    hint = did_you_mean(path.name, [file.name for file in path.parent.iterdir()])
    return hint if "did you mean" in hint else ""


def class_files(folder: Path) -> tuple[list[Path], Sequence[str]]:
    """Files of pictures or sounds in the folders of a folder, in the order of their names, and the kinds found."""
    files = sorted(path for path in folder.glob("[!.]*/[!.]*") if medium_of(path) is not None)
    return files, sorted({str(medium_of(path)) for path in files})


def files_in(folder: Path, medium: Medium) -> list[Path]:
    """All files of a medium in a folder and the folders below it, in the order of their names."""
    found = sorted(path for path in folder.rglob("[!.]*") if medium_of(path) == medium and path.is_file())
    if not found:
        raise DataError(f"{folder} holds no {medium}s; known endings are {', '.join(SUFFIXES[medium])}")
    return found


def _medium_of_bytes(held: bytes) -> Medium | None:
    if held.startswith(b"RIFF"):
        return "picture" if held[8:12] == b"WEBP" else "sound" if held[8:12] == b"WAVE" else None
    return "picture" if held.startswith(_PICTURES) else "sound" if held.startswith(_SOUNDS) else None


def _name_of(cell: object) -> str | None:
    name = cell.get("path") if isinstance(cell, dict) else None
    return name if isinstance(name, str) and name else None
