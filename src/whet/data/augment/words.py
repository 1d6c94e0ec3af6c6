"""Which words can take the place of others: what the user's list says, or what the model's table of tokens holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from whet.core import Columns, Loaded, Rows
from whet.data.augment.texts import neighbours
from whet.data.decode import read_text
from whet.errors import DataError, RecipeError

LEAST = 0.45
"""Cosine of the vectors of two words from which on they are taken to be near."""


def synonyms(options: Mapping[str, Any], rows: Rows, columns: Columns, loaded: Loaded) -> dict[str, tuple[str, ...]]:
    """Words to what can replace them; none where no option asks for any.

    Raises DataError for a list that cannot be read, RecipeError where neither it nor the model knows a word.
    """
    wanted = bool(options.get("synonyms") or options.get("insert"))
    if options.get("word_list") is not None:
        if not wanted:
            raise RecipeError(
                "augment.word_list: nothing asks for its words; set augment.synonyms or augment.insert too"
            )
        return _listed(Path(str(options["word_list"])))
    if not wanted:
        return {}
    table = loaded.model.get_input_embeddings()
    found: dict[str, tuple[str, ...]] = {}
    if isinstance(table, nn.Embedding):
        vectors = table.weight.detach().float().cpu().numpy().astype(np.float32)
        found = neighbours(rows, columns, loaded.processor, vectors, least=LEAST)
    if not found and options.get("synonyms"):
        raise RecipeError(
            "augment.synonyms: the model knows no word of these texts as a single token, so it cannot tell what is "
            "near; name a list with augment.word_list"
        )
    return found


def _listed(path: Path) -> dict[str, tuple[str, ...]]:
    """Every word of a line can take the place of every other of that line."""
    if not path.is_file():
        raise DataError(f"augment.word_list: {path} does not exist; each of its lines holds words, parted by commas")
    found: dict[str, list[str]] = {}
    for line in read_text(path).splitlines():
        words = [word.strip() for word in line.split(",") if word.strip()]
        for word in words:
            others = found.setdefault(word.casefold(), [])
            others += [other for other in words if other.casefold() != word.casefold() and other not in others]
    usable = {word: tuple(others) for word, others in found.items() if others}
    if not usable:
        raise DataError(f"augment.word_list: no line of {path} holds two words; write such as: good,fine,nice")
    return usable
