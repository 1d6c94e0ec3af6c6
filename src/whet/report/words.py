"""The words of a report in the reader's language; the English ones are the keys of the others."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from whet.errors import RecipeError, did_you_mean

LANGUAGES = ("en", "ko")
"""Languages of reports; each but English has a file of its own below ``languages``."""

_FOLDER = Path(__file__).parent / "languages"


class Words:
    """Says English texts in a language; ``{name}`` in them stands for a value."""

    def __init__(self, language: str = "en") -> None:
        if language not in LANGUAGES:
            raise RecipeError(f"--lang {language}: there is no report in it{did_you_mean(language, LANGUAGES)}")
        self.language = language
        self._known = {} if language == "en" else _texts(language)

    def __call__(self, text: str, **values: object) -> str:
        """The text in this language, with the values put in; one that nobody has translated stays English."""
        return self._known.get(text, text).format(**values)


@cache
def _texts(language: str) -> dict[str, str]:
    texts: dict[str, str] = yaml.safe_load((_FOLDER / f"{language}.yaml").read_text(encoding="utf-8"))
    return texts
