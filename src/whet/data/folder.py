"""Which files of a folder play which part, and folders of classes as rows.

Knows the layouts; knows no table format.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from whet.core import Rows
from whet.data.decode import read_text
from whet.data.media import FILE, class_files
from whet.data.problems import first_few
from whet.errors import DataError

PARTS = {"train": ("train", "training"), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
"""Part of a data set to the names it goes by."""

UNDERSTOOD = (
    "understood are: train.csv with validation.csv (or valid, val, dev) and test.csv; one data file alone; "
    "a folder for each class with texts (.txt), pictures or sounds; train/CLASS/ with test/CLASS/"
)


def parts_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Part to the names that claim it: an exact name if there is one, else such as ``validation_matched``."""
    known = list(names)
    found = {}
    for part, aliases in PARTS.items():
        exact = [name for name in known if name.lower() in aliases]
        longer = [name for name in known if name.lower().startswith(tuple(f"{alias}_" for alias in aliases))]
        if exact or longer:
            found[part] = exact or longer
    return found


def table_files(folder: Path, suffixes: Iterable[str]) -> tuple[dict[str, Path], list[Path]]:
    """Part to its file, and the data files left over; no part at all where the folder holds no table.

    Raises DataError where two files claim one part, or none of several files is called train.
    """
    allowed = tuple(suffixes)
    files = [path for path in _visible(folder) if path.is_file() and path.suffix.lower() in allowed]
    if len(files) == 1:
        return {"train": files[0]}, []
    by_stem: dict[str, list[Path]] = {}
    for path in files:
        by_stem.setdefault(path.stem, []).append(path)
    claims = {part: [path for stem in stems for path in by_stem[stem]] for part, stems in parts_of(by_stem).items()}
    crowded = [
        f"{folder}: {' and '.join(path.name for path in paths)} both claim to be the {part} rows; keep one"
        for part, paths in claims.items()
        if len(paths) > 1
    ]
    if crowded:
        raise DataError(*crowded)
    if files and "train" not in claims:
        names = first_few([path.name for path in files])
        raise DataError(f"{folder} holds {names}, and none is called train; name one file, or rename; {UNDERSTOOD}")
    chosen = {part: paths[0] for part, paths in claims.items()}
    return chosen, [path for path in files if path not in chosen.values()]


def holds_parts(folder: Path) -> bool:
    """Whether a folder has training rows in a folder of their own, with a folder for each class."""
    parts = parts_of(path.name for path in _visible(folder) if path.is_dir())
    return any(class_files(folder / name)[0] for name in parts.get("train", []))


def class_folders(folder: Path, encoding: str | None) -> dict[str, Rows]:
    """Part to rows of ``CLASS/*.txt``, columns ``text`` and ``label``; all rows are train where no part is named.

    Where the folders hold pictures or sounds, the columns are ``file`` and ``label``.

    The place of a row is its number in the order of class and file name. Raises DataError where the folder is
    laid out in any other way, or files do not decode.
    """
    parts = parts_of(path.name for path in _visible(folder) if path.is_dir())
    crowded = [f"{folder}: {first_few(names)} all claim to be {part}" for part, names in parts.items() if names[1:]]
    if crowded:
        raise DataError(*crowded)
    if "train" not in parts:
        return {"train": _classes(folder, encoding)}
    return {part: _classes(folder / names[0], encoding) for part, names in parts.items()}


def _classes(folder: Path, encoding: str | None) -> Rows:
    texts: list[object] = []
    labels: list[object] = []
    problems: list[str] = []
    files, media = class_files(folder)
    if len(media) > 1:
        raise DataError(f"{folder} is a folder with {_content(folder)}; keep pictures and sounds apart")
    if files and len({path.parent for path in files}) > 1:
        columns: dict[str, list[object]] = {FILE: list(map(str, files)), "label": [path.parent.name for path in files]}
        return Rows(columns, folder.name, range(1, len(files) + 1))
    for path in sorted(folder.glob("[!.]*/[!.]*.txt")):
        try:
            texts.append(read_text(path, encoding))
        except DataError as error:
            problems.append(f"{path.parent.name}/{error}")
        labels.append(path.parent.name)
    if problems:
        raise DataError(first_few(problems, "\n"))
    if len(set(labels)) < 2:
        raise DataError(f"{folder} is a folder with {_content(folder)}; {UNDERSTOOD}")
    return Rows({"text": texts, "label": labels}, folder.name, range(1, len(texts) + 1))


def _content(folder: Path) -> str:
    """What a folder and the folders in it hold, in words."""
    paths = (*folder.glob("[!.]*"), *folder.glob("[!.]*/[!.]*"))
    kinds = Counter("folders" if path.is_dir() else f"{path.suffix or 'suffixless'} files" for path in paths)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)) or "nothing in it"


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
