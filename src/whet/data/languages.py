"""Tells tokenizers of many languages, such as those of mBART and NLLB, which of them are read and written."""

from __future__ import annotations

import re
from typing import Any

from whet.data.problems import first_few
from whet.errors import RecipeError, did_you_mean

_CODE = re.compile(r"[a-z]{2,3}_[A-Za-z]{2,4}")


def speak(processor: Any, source: str | None, target: str | None) -> None:
    """Set the languages of a tokenizer; raises RecipeError where it needs codes that are not named, or knows none."""
    known = _codes(processor)
    named = {"source_language": source, "target_language": target}
    if not known:
        idle = [name for name, code in named.items() if code is not None]
        if idle:
            raise RecipeError(
                *(f"task.{name}: the tokenizer of this model knows no languages; leave it out" for name in idle)
            )
        return
    problems = [
        f"task.{name}: the tokenizer of this model has to be told a language; known are {first_few(known)}"
        if code is None
        else f"task.{name}: '{code}' is no language of this model's tokenizer{did_you_mean(code, known)}"
        for name, code in named.items()
        if code not in known
    ]
    if problems:
        raise RecipeError(*problems)
    processor.src_lang, processor.tgt_lang = source, target


def _codes(processor: Any) -> list[str]:
    """Codes of the languages that a tokenizer tells apart; none for most tokenizers."""
    own = vars(processor)
    if "_src_lang" not in own:
        return []
    codes = own.get("lang_code_to_id") or [token for token in processor.all_special_tokens if _CODE.fullmatch(token)]
    return sorted(codes)
