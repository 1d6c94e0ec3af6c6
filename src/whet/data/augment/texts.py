"""Random changes of training texts: words replaced, swapped, left out, repeated, misspelt, sentences shuffled.

After Wei and Zou 2019, "EDA: Easy Data Augmentation Techniques" (arXiv 1901.11196), without any download: words are
replaced by what stands next to them in the model's own table of token vectors, in any language that it reads, or by
what the user's list says. Words that turn a meaning round, and those that the user protects, stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from whet.core import Batch, Columns, Examples, Rows
from whet.protocols import Draws

NEGATIONS = frozenset(
    (
        *("no", "not", "never", "none", "nothing", "nobody", "neither", "nor", "without", "hardly", "cannot"),
        *("kein", "keine", "nicht", "nie", "nichts", "ohne", "ne", "pas", "jamais", "rien", "sans", "nunca", "nada"),
        *("안", "못", "없다", "없는", "없이", "않다", "않은", "아니다", "не", "нет", "ない"),
    )
)
"""Words that turn a meaning round; forms such as "don't" are known by their ending."""

FEWEST_WORDS = 3
"""Texts of fewer words are too short to lose one."""

SHOWN = 3
"""Texts that are shown before the run."""
LONGEST_SHOWN = 100

_PIECES = re.compile(r"\s+|\S+")
_SENTENCES = re.compile(r"(?<=[.!?。！？])\s+")
_EDGES = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class TextAugmentation:
    """Random changes of training texts; the options are those of a recipe's section ``augment``."""

    synonyms: float = 0.0
    swap: float = 0.0
    delete: float = 0.0
    insert: float = 0.0
    typos: float = 0.0
    shuffle: float = 0.0
    protect: frozenset[str] = frozenset()
    """Words in lower case that nothing happens to, beside ``NEGATIONS``."""
    near: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Words in lower case to those that can take their place."""
    rows: Rows
    columns: Columns
    encode: Callable[[Rows], Examples]
    """Rows as the model reads them, without targets."""
    join: Callable[[Examples, Examples, np.ndarray], Batch]
    """Changed examples with the targets of the rows that they were."""

    def collate(self, examples: Examples, indices: np.ndarray, draws: Draws) -> Batch:
        """The rows at ``indices`` with their texts changed, and their targets."""
        return self.join(self.encode(self._rows(indices, draws)), examples, indices)

    def illustrate(self, examples: Examples, draws: Callable[[int, np.ndarray], Draws], folder: Path) -> str:
        """A few training texts before and after."""
        del folder
        rows = np.unique(np.linspace(0, len(examples) - 1, SHOWN).astype(np.int64))
        lines = ["training texts as they are, and as the model will see them once:"]
        changed = self._rows(rows, draws(0, rows))
        for position, row in enumerate(rows):
            for name in self.columns.text:
                before, after = str(self.rows.columns[name][row]), str(changed.columns[name][position])
                lines += [f"  {_short(before)}", f"    -> {_short(after)}"]
        return "\n".join(lines)

    def _rows(self, indices: np.ndarray, draws: Draws) -> Rows:
        """The rows at ``indices`` with their texts changed."""
        part = self.rows.take(indices.tolist())
        texts = {name: list(part.columns[name]) for name in self.columns.text}
        for position, draw in enumerate(draws):
            for values in texts.values():
                values[position] = self.changed(str(values[position]), draw)
        return Rows({**part.columns, **texts}, part.source, part.places, part.folder)

    def changed(self, text: str, draw: np.random.Generator) -> str:
        """One text, changed; never an empty one."""
        if self.shuffle and draw.random() < self.shuffle:
            sentences = _SENTENCES.split(text)
            text = " ".join(sentences[i] for i in draw.permutation(len(sentences)))
        pieces = _PIECES.findall(text)
        places = [i for i, piece in enumerate(pieces) if not piece.isspace()]
        free = [i for i in places if not self._protected(pieces[i])]
        for i in free:
            pieces[i] = self._word(pieces[i], draw)
        if self.swap and len(free) > 1:
            for i in free:
                if draw.random() < self.swap:
                    other = free[int(draw.integers(len(free)))]
                    pieces[i], pieces[other] = pieces[other], pieces[i]
        if self.delete and len(places) >= FEWEST_WORDS:
            gone = {i for i in free if draw.random() < self.delete}
            # Half of the words stay at least.
            for i in sorted(gone)[: len(places) // 2]:
                pieces[i] = ""
        return " ".join("".join(pieces).split()) or text

    def _word(self, word: str, draw: np.random.Generator) -> str:
        """One word, replaced, with another beside it, or misspelt."""
        before, bare, behind = _parts(word)
        others = self.near.get(bare.casefold(), ())
        if self.synonyms and others and draw.random() < self.synonyms:
            bare = _cased(others[int(draw.integers(len(others)))], bare)
        if self.insert and draw.random() < self.insert:
            added = others[int(draw.integers(len(others)))] if others else bare
            bare = f"{bare} {added}"
        if self.typos and len(bare) > 2 and draw.random() < self.typos:
            bare = _misspelt(bare, draw)
        return before + bare + behind

    def _protected(self, word: str) -> bool:
        bare = _parts(word)[1].casefold()
        number = any(character.isdigit() for character in bare)
        return number or bare in NEGATIONS or bare in self.protect or bare.endswith(("n't", "n’t"))


def neighbours(
    rows: Rows,
    columns: Columns,
    processor: PreTrainedTokenizerBase,
    table: np.ndarray,
    *,
    nearest: int = 5,
    least: float,
) -> dict[str, tuple[str, ...]]:
    """The words of these texts that are single tokens, and the words whose vectors stand next to theirs.

    ``table`` (V, D) has the vector of every token; two words are near where the cosine between theirs is at least
    ``least``. What only differs in its ending or its case is no other word.
    """
    words = {
        _parts(piece)[1].casefold()
        for name in columns.text
        for value in rows.columns[name]
        for piece in str(value).split()
    }
    known = _whole_words(processor, len(table))
    numbers = {word: number for number, word in known.items() if word in words}
    if not numbers:
        return {}
    candidates = np.array(sorted(known), dtype=np.int64)
    unit = table[candidates] / np.maximum(np.linalg.norm(table[candidates], axis=1, keepdims=True), 1e-12)
    asked = list(numbers)
    found: dict[str, tuple[str, ...]] = {}
    place = {int(number): i for i, number in enumerate(candidates)}
    for start in range(0, len(asked), 256):
        few = asked[start : start + 256]
        cosines = unit[[place[numbers[word]] for word in few]] @ unit.T
        for word, row in zip(few, cosines, strict=True):
            best = np.argsort(-row)[: nearest + 10]
            near = [known[int(candidates[i])] for i in best if row[i] >= least]
            others = tuple(dict.fromkeys(other for other in near if not _same_stem(word, other)))[:nearest]
            if others:
                found[word] = others
    return found


def _whole_words(processor: PreTrainedTokenizerBase, size: int) -> dict[int, str]:
    """Token numbers of whole words, in lower case."""
    vocabulary = processor.get_vocab()
    marked = any(token.startswith(("Ġ", "▁")) for token in vocabulary)
    words: dict[int, str] = {}
    for token, number in vocabulary.items():
        if number >= size or (marked and not token.startswith(("Ġ", "▁"))) or token.startswith("##"):
            continue
        word = str(processor.convert_tokens_to_string([token])).strip() if marked else token
        if len(word) >= 2 and word.isalpha():
            words[number] = word.casefold()
    return words


def _same_stem(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return longer.startswith(shorter[: max(3, len(shorter) - 2)])


def _parts(word: str) -> tuple[str, str, str]:
    """What stands before a word, the word, and what stands behind it: quotes, commas and the like."""
    match = _EDGES.match(word)
    assert match is not None
    return match[1], match[2], match[3]


def _cased(word: str, like: str) -> str:
    return word.upper() if like.isupper() and len(like) > 1 else word.capitalize() if like[:1].isupper() else word


def _misspelt(word: str, draw: np.random.Generator) -> str:
    """Two letters exchanged, one left out, or one twice; the first one stays."""
    i = int(draw.integers(1, len(word) - 1))
    kind = int(draw.integers(3))
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i + 1 :] if kind == 1 else word[: i + 1] + word[i] + word[i + 1 :]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
