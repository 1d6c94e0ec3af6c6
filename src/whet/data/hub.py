"""A data set of the Hugging Face hub becomes rows.

The ``datasets`` library loads, caches and honours ``HF_HOME``, ``HF_ENDPOINT`` and ``HF_HUB_OFFLINE``; no code of a
repository is run. This module knows no task.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whet.core import Choice, Rows
from whet.data.folder import parts_of
from whet.data.problems import first_few
from whet.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

PREFIX = "hub:"


@dataclass(frozen=True)
class Address:
    """Where a data set stands on the hub."""

    name: str
    config: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, text: str) -> Address:
        """Read ``hub:owner/name:config@revision``; config and revision may be absent."""
        match = re.fullmatch(r"hub:([\w.-]+(?:/[\w.-]+)?)(?::([^@\s]+))?(?:@(\S+))?", text)
        if match is None:
            raise DataError(
                f"'{text}' is no address on the hub; write hub:owner/name, or hub:owner/name:config@revision"
            )
        return cls(*match.groups())


def read_hub(text: str) -> tuple[dict[str, Rows], list[Choice]]:
    """The train, validation and test rows of a data set on the hub, and what was decided about them.

    Raises DataError where it cannot be found, reached or read, or where one of several configs has to be named.
    """
    import datasets  # noqa: PLC0415  takes a second to import, and most runs read a file

    address = Address.of(text)
    # The prefix keeps a folder of the same name on this computer from being read instead.
    path = f"hf://datasets/{address.name}"
    try:
        loaded = datasets.load_dataset(path, address.config, revision=address.revision)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise DataError(f"{text}: {_one_line(error)}; check its name, or log in with: hf auth login") from error
    except ValueError as error:
        raise DataError(f"{text}: {_one_line(error)}{_configs(address)}") from error
    except ConnectionError as error:
        raise DataError(
            f"{text}: {_one_line(error)}; connect to the network (HF_HUB_OFFLINE unset, HF_ENDPOINT right), "
            "or download it where there is one and give its files: data.train=FOLDER"
        ) from error
    except (OSError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{text} cannot be loaded: {_one_line(error)}; download its files and give their folder"
        ) from error
    return splits_of(loaded, address.name)


def splits_of(loaded: Mapping[str, Dataset], name: str) -> tuple[dict[str, Rows], list[Choice]]:
    """Rows by part of a loaded data set: class numbers become names, and test rows without labels are left out."""
    parts = {part: names[0] for part, names in parts_of(loaded).items()}
    if "train" not in parts and len(loaded) == 1:
        parts = {"train": next(iter(loaded))}
    if "train" not in parts:
        raise DataError(f"{name} has no split called train; it has {first_few(list(loaded))}; give its files instead")
    splits: dict[str, Rows] = {}
    choices: list[Choice] = []
    for part, split in parts.items():
        data = loaded[split]
        hidden = [column for column in data.column_names if _all_minus_one(data, column)]
        if part != "train" and hidden:
            reason = f"the {split} split of {name} hides its labels: every '{hidden[0]}' is -1"
            choices.append(Choice(f"data.{part}", None, "inferred", reason))
            continue
        if len(data) == 0:
            raise DataError(f"the {split} split of {name} has not a single row; choose another data set or config")
        splits[part] = Rows(_named_classes(data), f"{name} ({split})", range(1, len(data) + 1))
        choices.append(Choice(f"data.{part}", split, "inferred", f"the {split} split of {name}, {len(data):,} rows"))
    unused = [split for split in loaded if split not in parts.values()]
    if unused:
        reason = f"the {parts['train']} split of {name}; not used: {first_few(unused)}"
        choices = [Choice(c.path, c.value, c.origin, reason) if c.path == "data.train" else c for c in choices]
    return splits, choices


def _all_minus_one(data: Dataset, column: str) -> bool:
    return len(data) > 0 and all(value == -1 for value in data.data.column(column).to_pylist())


def _named_classes(data: Dataset) -> dict[str, list[object]]:
    import datasets  # noqa: PLC0415  takes a second to import

    columns: dict[str, list[object]] = data.to_dict()
    for column, feature in data.features.items():
        inner = feature.feature if isinstance(feature, datasets.List) else None
        if isinstance(feature, datasets.ClassLabel):
            columns[column] = [_class_name(feature.names, value) for value in columns[column]]
        elif isinstance(inner, datasets.ClassLabel):
            columns[column] = [
                [_class_name(inner.names, value) for value in values] if isinstance(values, list) else None
                for values in columns[column]
            ]
    return columns


def _class_name(names: list[str], value: object) -> str | None:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _configs(address: Address) -> str:
    """The tail of a message that lists the configs there are, where they can be listed."""
    import datasets  # noqa: PLC0415  takes a second to import

    try:
        names = datasets.get_dataset_config_names(f"hf://datasets/{address.name}", revision=address.revision)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError):
        return ""
    return f"; name one of its configs: {', '.join(f'{PREFIX}{address.name}:{name}' for name in names)}"


def _one_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
