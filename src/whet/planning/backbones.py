"""Which pre-trained model to begin with: small ones of the hub, by task and language.

Names, counts of parameters and licences are those of the models' own pages. Nothing here asks the hub. Where nothing
can be fetched the embedded MiniLM, which knows English, is what there is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["English", "Korean", "other"]
"""What is told apart: other languages need a model of many."""

READING = ("text_classification", "token_classification")
SEEING = ("image_classification",)
HEARING = ("audio_classification",)
WRITING = ("causal_lm",)
REWRITING = ("seq2seq",)
TRANSCRIBING = ("speech_recognition",)

MANY = "many"
ENGLISH: Literal["English"] = "English"
KOREAN: Literal["Korean"] = "Korean"

_HANGUL = re.compile("[\uac00-\ud7a3\u1100-\u11ff\u3130-\u318f]")
_LETTER = re.compile(r"[^\W\d_]")
_COMMON = re.compile(r"\b(the|and|of|is|are|it|that|this|you|for|what|how|with|my|not|have)\b", re.IGNORECASE)
"""Words without which hardly anybody writes English."""
SAMPLE = 200
"""Texts that tell the language."""
MOSTLY = 0.3
"""Share of the letters that decides: Korean is written with many English names in it."""
SOME = 0.1
"""Share of the texts with a common word: short ones often have none."""


@dataclass(frozen=True)
class Backbone:
    """A model of the hub."""

    name: str
    parameters: float
    """In millions."""
    licence: str
    tasks: tuple[str, ...]
    language: str | None
    """None where it reads no words."""
    why: str
    pickled: bool = False
    """Whether its weights were seen in pickled form only, which whet never opens, and says how to convert."""


BACKBONES: tuple[Backbone, ...] = (
    # texts
    Backbone("sentence-transformers/all-MiniLM-L6-v2", 22.7, "Apache-2.0", READING, ENGLISH, "embedded; the fastest"),
    Backbone("distilbert/distilbert-base-uncased", 66.4, "Apache-2.0", READING, ENGLISH, "half the time of a BERT"),
    Backbone("distilbert/distilroberta-base", 82.1, "Apache-2.0", READING, ENGLISH, "cased: names, tags"),
    Backbone("FacebookAI/roberta-base", 124.6, "MIT", READING, ENGLISH, "the best scores of this size for long"),
    Backbone("answerdotai/ModernBERT-base", 149.0, "Apache-2.0", READING, ENGLISH, "long texts, up to 8,192 tokens"),
    Backbone(
        *("monologg/koelectra-small-v3-discriminator", 14.1, "Apache-2.0", READING, KOREAN),
        why="Korean; the fastest",
        pickled=True,
    ),
    Backbone("klue/roberta-small", 68.1, "licence not stated", READING, KOREAN, "written Korean"),
    Backbone("beomi/KcELECTRA-base", 109.0, "MIT", READING, KOREAN, "Korean as in comments and reviews"),
    Backbone("intfloat/multilingual-e5-small", 117.7, "MIT", READING, MANY, "some 100 languages, Korean included"),
    Backbone("distilbert/distilbert-base-multilingual-cased", 134.7, "Apache-2.0", READING, MANY, "104 languages"),
    # texts that are gone on with
    Backbone("HuggingFaceTB/SmolLM2-135M-Instruct", 134.5, "Apache-2.0", WRITING, ENGLISH, "the smallest that chats"),
    Backbone(
        "HuggingFaceTB/SmolLM2-360M-Instruct", 361.8, "Apache-2.0", WRITING, ENGLISH, "better, three times slower"
    ),
    Backbone("Qwen/Qwen2.5-0.5B-Instruct", 494.0, "Apache-2.0", WRITING, MANY, "29 languages, Korean included"),
    Backbone("Qwen/Qwen3-0.6B", 596.0, "Apache-2.0", WRITING, MANY, "119 languages, Korean included"),
    # texts that become others
    Backbone("google-t5/t5-small", 60.5, "Apache-2.0", REWRITING, ENGLISH, "the fastest"),
    Backbone("google/flan-t5-small", 77.0, "Apache-2.0", REWRITING, ENGLISH, "follows instructions"),
    Backbone("facebook/bart-base", 139.4, "Apache-2.0", REWRITING, ENGLISH, "summaries"),
    Backbone(
        *("google/mt5-small", 300.2, "Apache-2.0", REWRITING, MANY), why="101 languages, Korean included", pickled=True
    ),
    # pictures
    Backbone("microsoft/resnet-18", 11.7, "Apache-2.0", SEEING, None, "the fastest; any size of picture"),
    Backbone("facebook/dinov2-small", 22.1, "Apache-2.0", SEEING, None, "the best frozen features"),
    Backbone(
        "microsoft/swin-tiny-patch4-window7-224", 28.3, "Apache-2.0", SEEING, None, "the best scores of this size"
    ),
    Backbone("google/vit-base-patch16-224-in21k", 86.4, "Apache-2.0", SEEING, None, "many kinds of things"),
    # sounds
    Backbone("ntu-spml/distilhubert", 23.5, "Apache-2.0", HEARING, None, "the fastest; speech and music"),
    Backbone(
        *("MIT/ast-finetuned-audioset-10-10-0.4593", 86.6, "BSD-3-Clause", HEARING, None),
        why="sounds of nature, machines and music",
    ),
    Backbone("openai/whisper-tiny", 37.8, "Apache-2.0", TRANSCRIBING, MANY, "99 languages, Korean included"),
    Backbone("openai/whisper-base", 72.6, "Apache-2.0", TRANSCRIBING, MANY, "fewer errors, twice the time"),
    Backbone("facebook/wav2vec2-base-960h", 94.4, "Apache-2.0", TRANSCRIBING, ENGLISH, "spells letter by letter"),
)


def suggest(task: str, language: Language | None, at_most: float = float("inf")) -> list[Backbone]:
    """Models for a task, those for the very language first, then those for many, each from small to large.

    ``at_most`` is how many millions of parameters they may have. No language is known of pictures and sounds.
    """
    usable = [one for one in BACKBONES if task in one.tasks and one.parameters <= at_most]
    own = [one for one in usable if one.language in (None, language)]
    many = [one for one in usable if one.language == MANY]
    return own + many if language != ENGLISH else own


def language_of(texts: Sequence[str]) -> Language:
    """The language of most texts: Korean by its letters, English by its most common words."""
    sample = [text for text in texts[:SAMPLE] if text.strip()]
    letters = sum(len(_LETTER.findall(text)) for text in sample)
    if not letters:
        return "other"
    if sum(len(_HANGUL.findall(text)) for text in sample) >= MOSTLY * letters:
        return KOREAN
    plain = sum(len(re.findall("[A-Za-z]", text)) for text in sample)
    english = sum(bool(_COMMON.search(text)) for text in sample)
    return ENGLISH if plain >= (1 - SOME) * letters and english >= SOME * len(sample) else "other"


def why_embedded(task: str, texts: Sequence[object]) -> str:
    """Why the embedded model was taken, and what would learn more where it stands in for a better one."""
    why = "no model was named: this one is embedded"
    language = language_of([str(text) for text in texts[:SAMPLE]])
    if task not in READING or language == ENGLISH:
        return why
    looks = "are Korean" if language == KOREAN else "do not look like it"
    better = next(one.name for one in suggest(task, language) if not one.pickled)
    return f"{why}; it was trained on English, and these texts {looks}: --model {better} would suit them better"
