"""Rows of tokens with tags, and texts with marked parts, as a model reads them; and what its answers mean in them.

Every row is a text and units of it, each with a tag: words, pieces, or single characters. The model reads tokens of its
own; a unit is answered by the first of them that begins in it. Knows no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from whet import metrics
from whet.core import Answer, Entity, Examples, Ragged, Rows, Scores
from whet.data import labels as label_reading
from whet.data import tag_schemes
from whet.data.next_tokens import UNLEARNED
from whet.data.problems import at
from whet.data.tag_schemes import OUTSIDE, Part
from whet.data.tagged_columns import Form, tags_of
from whet.data.tokens import CHUNK
from whet.errors import DataError, ModelError

# A word of a sentence ends before the punctuation that stands at its end; signs of names and money belong to it.
_WORD = re.compile(r"[\w@#$€£&]\S*?(?=[^\w\s]*(?:\s|$))|[^\w\s]")


@dataclass(frozen=True)
class Text:
    """A row as a text and its units."""

    text: str
    starts: np.ndarray
    """(W,) where each unit begins, in characters."""
    ends: np.ndarray
    """(W,)"""
    listed: bool
    """Whether the row is a list of units; a sentence else."""


def text_of(cell: object, form: Form) -> Text:
    """A cell as a text: tokens with spaces between them, pieces without, a sentence as it is."""
    if isinstance(cell, list):
        tokens = [str(token) for token in cell]
        between = "" if form == "pieces" else " "
        ends = np.cumsum([len(token) + len(between) for token in tokens], dtype=np.int64) - len(between)
        return Text(between.join(tokens), ends - [len(token) for token in tokens], ends, listed=True)
    text = str(cell)
    if form == "words":
        found = [match.span() for match in _WORD.finditer(text)]
        units = np.array(found, dtype=np.int64).reshape(-1, 2)
        return Text(text, units[:, 0], units[:, 1], listed=False)
    places = np.arange(len(text))
    return Text(text, places, places + 1, listed=False)


@dataclass(frozen=True)
class Tagger:
    """How the rows of a data set become what a model reads, and back."""

    form: Form
    names: Sequence[str]
    """The tags in the order of the model's outputs."""
    every: bool = False
    """Whether all tokens of a unit are learned, and not the first alone."""

    def encode(
        self, rows: Rows, text: str, label: str | None, processor: PreTrainedTokenizerBase, longest: int
    ) -> Examples:
        """Rows with a target for each token that begins a unit; raises DataError for rows in which nothing is read."""
        if not processor.is_fast:
            raise ModelError(
                "the tokenizer of this model cannot say which characters a token stands for, so tags cannot be given "
                "to its tokens; it needs a tokenizer.json"
            )
        texts = [text_of(cell, self.form) for cell in rows.columns[text]]
        classes = None if label is None else self._classes(rows, label, texts)
        inputs: dict[str, list[list[int]]] = {}
        places: list[Places] = []
        cut = 0
        for start in range(0, len(texts), CHUNK):
            few = texts[start : start + CHUNK]
            read = processor(
                [one.text for one in few],
                truncation=True,
                max_length=longest,
                return_offsets_mapping=True,
                return_attention_mask=False,
                verbose=False,
            )
            for name in processor.model_input_names:
                if name in read:
                    inputs.setdefault(name, []).extend(read[name])
            places += [_places(one, offsets) for one, offsets in zip(few, read["offset_mapping"], strict=True)]
            cut += sum(bool(encoding.overflowing) for encoding in read.encodings or ())
        blank = [i for i, place in enumerate(places) if not len(place.positions)]
        if blank:
            where = at(rows.source, [rows.places[i] for i in blank])
            raise DataError(f"{rows.source}: the model's tokenizer reads nothing in the text of {where}; correct it")
        ragged = {name: Ragged.of(values) for name, values in inputs.items()} or {"input_ids": Ragged.of([])}
        pads = {"input_ids": processor.pad_token_id, "token_type_ids": processor.pad_token_type_id}
        fills = {name: int(pads.get(name) or 0) for name in ragged}
        # Of no rows there is nothing to zip.
        columns = zip(*places, strict=True) if places else ([] for _ in Places._fields)
        beside = {name: Ragged.of(values) for name, values in zip(Places._fields, columns, strict=True)}
        targets = None
        if classes is not None:
            beside["classes"] = Ragged.of(classes)
            targets = Ragged.of(self._targets(place, numbers) for place, numbers in zip(places, classes, strict=True))
        return Examples(ragged, targets, ragged["input_ids"].lengths, fills, cut, beside=beside)

    def score(self, predictions: Ragged, examples: Examples) -> Scores:
        """All metrics; units in which the model reads nothing, cut off or empty, count as outside."""
        wanted = [[self.names[number] for number in examples.beside["classes"][row]] for row in range(len(examples))]
        found = [self._tags(predictions[row], _row(examples, row), len(tags))[0] for row, tags in enumerate(wanted)]
        scores = metrics.tags([tag for row in found for tag in row], [tag for row in wanted for tag in row])
        if not tag_schemes.is_scheme(self.names):
            return scores
        parts = (tag_schemes.parts(tags) for tags in found), (tag_schemes.parts(tags) for tags in wanted)
        return {**metrics.parts(*parts), "token_accuracy": scores["token_accuracy"]}

    def answer(self, predictions: Ragged, examples: Examples, rows: Rows, text: str) -> list[Answer]:
        """The tags of each list of tokens, and the entities of each sentence."""
        answers = []
        for row, cell in enumerate(rows.columns[text]):
            source, probabilities = text_of(cell, self.form), predictions[row]
            tags, sure = self._tags(probabilities, _row(examples, row), len(source.starts))
            answers.append(Answer(tags, {}) if source.listed else Answer(self._entities(source, tags, sure), {}))
        return answers

    def _classes(self, rows: Rows, label: str, texts: Sequence[Text]) -> list[list[int]]:
        """Numbers of the tags of all units; raises DataError naming tags that training had not."""
        position = {name: number for number, name in enumerate(self.names)}
        listed = tags_of(rows, label, self.form)
        unknown: dict[str, list[int]] = {}
        for place, tags in zip(rows.places, listed, strict=True):
            for tag in set(tags) - position.keys():
                unknown.setdefault(tag, []).append(place)
        if unknown:
            raise DataError(*label_reading.unknown_classes(unknown, rows.source, self.names))
        outside = [position[OUTSIDE]] if self.form == "spans" else []
        return [
            [*(position[tag] for tag in tags), *outside * (len(text.starts) - len(tags))]
            for text, tags in zip(texts, listed, strict=True)
        ]

    def _targets(self, places: Places, classes: Sequence[int]) -> list[int]:
        """(T,) targets of the tokens of one row."""
        targets = np.full(len(places.units), UNLEARNED, dtype=np.int64)
        numbers = np.array(classes, dtype=np.int64)
        if self.every:
            on = np.array([self._going_on(number) for number in range(len(self.names))])
            read = places.units >= 0
            targets[read] = on[numbers[places.units[read]]]
        targets[places.positions] = numbers[places.firsts]
        listed: list[int] = targets.tolist()
        return listed

    def _going_on(self, number: int) -> int:
        name = tag_schemes.going_on(self.names[number])
        return self.names.index(name) if name in self.names else UNLEARNED

    def _tags(self, probabilities: np.ndarray, places: Places, count: int) -> tuple[list[str], np.ndarray]:
        """Tags of the units of one row, and (W,) how sure the model is of each."""
        chosen = probabilities[places.positions]
        named = [self.names[number] for number in chosen.argmax(axis=-1)]
        tags = [OUTSIDE if OUTSIDE in self.names else ""] * count
        sure = np.ones(count)
        for tag, first, last, probability in zip(named, places.firsts, places.lasts, chosen.max(axis=-1), strict=True):
            tags[first:last] = [tag, *[tag_schemes.going_on(tag)] * (last - first - 1)]
            sure[first:last] = probability
        if tag_schemes.is_scheme(self.names):
            # What is not read does not break a part that goes on behind it.
            for start, end, label in tag_schemes.parts(named):
                first, last = int(places.firsts[start]), int(places.lasts[end - 1])
                read = np.zeros(last - first, dtype=bool)
                for i in range(start, end):
                    read[places.firsts[i] - first : places.lasts[i] - first] = True
                for gap in np.flatnonzero(~read):
                    tags[first + gap] = f"I-{label}"
        return tags, sure

    def _entities(self, source: Text, tags: list[str], sure: np.ndarray) -> list[Entity]:
        if tag_schemes.is_scheme(self.names):
            found = tag_schemes.parts(tags)
        else:
            found = [Part(unit, unit + 1, tag) for unit, tag in enumerate(tags) if tag]
        entities = []
        for part in found:
            start, end = int(source.starts[part.start]), int(source.ends[part.end - 1])
            probability = float(sure[part.start : part.end].mean())
            entities.append(Entity(source.text[start:end], part.label, start, end, probability))
        return entities


class Places(NamedTuple):
    """Where the units of a row stand among its T tokens; K of them begin a unit."""

    positions: np.ndarray
    """(K,) the first token of each unit that is read."""
    stops: np.ndarray
    """(K,) the token behind its last one."""
    firsts: np.ndarray
    """(K,) that unit."""
    lasts: np.ndarray
    """(K,) the unit behind the last one that these tokens cover."""
    units: np.ndarray
    """(T,) the unit in which each token begins, -1 for none."""


def _places(source: Text, offsets: Sequence[tuple[int, int]]) -> Places:
    """Where the units stand, from the (T,) first and last character of every token."""
    units = np.full(len(offsets), -1, dtype=np.int64)
    covered: dict[int, list[int]] = {}
    for token, (start, end) in enumerate(offsets):
        # Many tokens begin with the space before a word.
        while start < end and source.text[start].isspace():
            start += 1
        if start >= end:
            continue
        unit = int(np.searchsorted(source.starts, start, side="right")) - 1
        if unit < 0 or start >= source.ends[unit]:
            continue
        units[token] = unit
        last = int(np.searchsorted(source.starts, end, side="left"))
        entry = covered.setdefault(unit, [token, token + 1, unit, last])
        entry[1], entry[3] = token + 1, max(entry[3], last)
    table = np.array(sorted(covered.values()), dtype=np.int64).reshape(-1, 4)
    # A unit that has a token of its own is not covered by the one before.
    lasts = np.minimum(table[:, 3], np.append(table[1:, 2], np.iinfo(np.int64).max))
    return Places(table[:, 0], table[:, 1], table[:, 2], lasts, units)


def _row(examples: Examples, row: int) -> Places:
    return Places(*(examples.beside[name][row] for name in Places._fields))
