"""How what is said is spelled: one form for all transcripts, so that they can be learned and compared."""

import unicodedata
from typing import Literal, TypeAlias

Case: TypeAlias = Literal["lower", "keep"]
Punctuation: TypeAlias = Literal["remove", "keep"]

_BETWEEN = "-/\u2010\u2013\u2014"
"""Signs that stand between two words."""
_APOSTROPHES = str.maketrans("\u2019\u2018\u02bc", "'''")


def spelled(text: object, case: Case, punctuation: Punctuation) -> str:
    """A transcript in one spelling: composed Unicode, single spaces, and small letters without signs if so wanted."""
    plain = unicodedata.normalize("NFC", str(text)).translate(_APOSTROPHES).replace("|", " ")
    if case == "lower":
        plain = plain.lower()
    if punctuation == "remove":
        plain = "".join(one if not _is_sign(one) else " " if one in _BETWEEN else "" for one in plain)
    return " ".join(plain.split())


def _is_sign(one: str) -> bool:
    # An apostrophe is part of a word.
    return one != "'" and unicodedata.category(one).startswith("P")
