"""Which columns hold tokens with their tags, or texts with the parts that are marked in them, and which rows are sound.

Knows no model and no file format.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from whet.core import Choice, Columns, Problem, Rows
from whet.data import columns as columns_of
from whet.data.labels import class_name, natural_order
from whet.data.problems import at, first_few
from whet.data.tag_schemes import OUTSIDE, Part, marked, of_labels
from whet.errors import DataError
from whet.protocols import COMPLETE

Form: TypeAlias = Literal["words", "pieces", "spans"]
"""What rows hold: words with a tag each; pieces of a text, spaces among them, with a tag each; marked texts."""

FORMS = {
    "words": "each row is a list of words with a tag each",
    "pieces": "spaces stand among the tokens, so these are pieces of a text",
    "spans": "each row is a text with a list of what is marked in it",
}

WORDS = ("tokens", "words", "토큰", "단어")
TAGS = (
    *("ner_tags", "tags", "ner", "labels", "label", "pos_tags", "pos", "upos", "xpos", "chunk_tags"),
    *("태그", "개체명", "품사"),
)
"""Names that lists of tags go by, the surest first."""
TEXTS = ("text", "sentence", "content", "문장", "텍스트", "본문")
SPANS = ("entities", "spans", "ents", "labels", "label", "개체명", "개체")
"""Names that lists of marked parts go by, the surest first."""

_LABELS = ("label", "type", "tag", "entity", "entity_group")

Found: TypeAlias = tuple[str, str, str]
"""Column of the texts, column of the tags, and why."""


def is_tagged(rows: Rows) -> str | None:
    """Why the rows are to be tagged; None where that is not sure."""
    found = _by_name(rows, None, None)
    return None if found is None else f"columns '{found[0]}' and '{found[1]}' hold {found[2]}"


def infer(
    rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
) -> tuple[Columns, list[Choice]]:
    """Columns of tokens and tags, or of texts and spans; raises DataError where none are found."""
    many = [f"data.{option}" for option, names in (("text", text), ("label", label)) if names and len(names) > 1]
    if many:
        raise DataError(f"{' and '.join(many)}: tagging reads one column of texts and one of tags; name one")
    if text and label:
        return columns_of.infer(rows, text=text, label=label, group=group)
    columns_of.check(rows, Columns(tuple(text or ()), tuple(label or ()), group))
    given = (text[0] if text else None, label[0] if label else None)
    found = _by_name(rows, *given) or _by_shape(rows, *given)
    if found is None:
        raise DataError(
            f"no two columns of {rows.source} are lists of tokens and of their tags, or texts and lists of what is "
            f"marked in them (start, end, label); columns are {first_few([repr(name) for name in rows.columns])}; "
            "name them with data.text and data.label"
        )
    others = [name for name in _tag_columns(rows, found[0]) if name != found[1]]
    tail = f"; {first_few([repr(name) for name in others])} could be tags too and is not used" if others else ""
    choices = []
    for path, named, chosen, more in (("data.text", text, found[0], ""), ("data.label", label, found[1], tail)):
        choices.append(Choice(path, chosen, "given" if named else "inferred", "" if named else found[2] + more))
    if group is not None:
        choices.append(Choice("data.group", group, "given"))
    return Columns((found[0],), (found[1],), group), choices


def form_of(rows: Rows, columns: Columns) -> Form:
    """What the rows hold."""
    cells = rows.columns[columns.text[0]]
    if not any(isinstance(cell, list) for cell in cells):
        return "spans"
    spaces = (isinstance(token, str) and token.isspace() for cell in cells if isinstance(cell, list) for token in cell)
    return "pieces" if any(spaces) else "words"


def spans_of(cell: object) -> list[Part]:
    """What a cell says is marked in a text, in order; raises ValueError that tells what is wrong."""
    if not isinstance(cell, list):
        raise ValueError("there is no list of what is marked")
    spans = []
    for one in cell:
        if isinstance(one, Mapping):
            start, end = one.get("start"), one.get("end")
            label = next((one[name] for name in _LABELS if name in one), None)
        elif isinstance(one, list | tuple) and len(one) == 3:
            start, end, label = one
        else:
            start = end = label = None
        if not (isinstance(start, int) and isinstance(end, int)) or label is None or not str(label).strip():
            raise ValueError("what is marked has no start, end and label")
        spans.append(Part(start, end, str(label).strip()))
    return sorted(spans)


def tags_of(rows: Rows, label: str, form: Form) -> list[list[str]]:
    """The tags of all units of each row; of a text with spans of each character."""
    cells = rows.columns[label]
    if form != "spans":
        return [[class_name(tag) for tag in cell] for cell in cells if isinstance(cell, list)]
    # As long as the last span: what follows is outside.
    spans = [spans_of(cell) for cell in cells]
    return [marked(row, max((span.end for span in row), default=0)) for row in spans]


def tag_names(listed: Sequence[Sequence[str]], rows: Rows, label: str, form: Form) -> list[str]:
    """All tags, what is outside first; raises DataError where there are fewer than two."""
    names = sorted({tag for tags in listed for tag in tags}, key=lambda tag: (tag != OUTSIDE, natural_order(tag)))
    if form == "spans":
        # A part of a single character so far may be longer elsewhere.
        names = of_labels(dict.fromkeys(name[2:] for name in names if name != OUTSIDE))
    if len(names) < 2:
        only = f"the only tag is {names[0]!r}" if names else "nothing is marked"
        raise DataError(f"column '{label}' of {rows.source}: {only}; there is nothing to tell apart")
    return names


def usable(rows: Rows, columns: Columns, form: Form, *, drop: bool, labelled: bool, way_out: str) -> tuple[Rows, int]:
    """The rows that can be learned, or answered where they are not ``labelled``; raises DataError naming the others."""
    problem: Callable[[Any, Any], str | None] = _span_problem if form == "spans" else _tag_problem
    problems: dict[str, list[int]] = {}
    texts = rows.columns[columns.text[0]]
    tags: Sequence[object] = rows.columns[columns.label[0]] if labelled else [None] * len(rows)
    for row, (text, tag) in enumerate(zip(texts, tags, strict=True)):
        if labelled or form == "spans" or isinstance(text, list):
            why = problem(text, tag if labelled else _Absent)
        else:
            why = None if isinstance(text, str) and text.strip() else "there is no text"
        if why is not None:
            problems.setdefault(why, []).append(row)
    wrong = {row for rows_of_kind in problems.values() for row in rows_of_kind}
    if not wrong:
        return rows, 0
    if drop and len(wrong) < len(rows):
        return rows.take(i for i in range(len(rows)) if i not in wrong), len(wrong)
    told = [f"{rows.source}: {at(rows.source, [rows.places[i] for i in at_])}: {why}" for why, at_ in problems.items()]
    raise DataError(*told, way_out)


class TaggedTexts:
    """What a task is told of rows with tags."""

    form: Form | None

    @property
    def problem(self) -> Problem:
        """Tags are to be told."""
        return "tagging"

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        """By well-known names first, by the shape of the values second."""
        return infer(rows, text=text, label=label, group=group)

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        """The rows whose tags or spans fit their texts."""
        form = self.form or form_of(rows, columns)
        return usable(rows, columns, form, drop=drop, labelled=labelled, way_out=way_out)


class _Absent:
    """Stands for tags that nobody wants."""


def _tag_problem(tokens: Any, tags: Any) -> str | None:
    if not isinstance(tokens, list):
        return "there is no list of tokens"
    if not any(str(token).strip() for token in tokens if token is not None):
        return "there is no token"
    if any(token is None or isinstance(token, list | dict) for token in tokens):
        return "a token is no text"
    if tags is _Absent:
        return None
    if not isinstance(tags, list):
        return "there is no list of tags"
    if len(tags) != len(tokens):
        return "there is not one tag for each token"
    if any(tag is None or isinstance(tag, list | dict) or not str(tag).strip() for tag in tags):
        return "a tag is empty"
    return None


def _span_problem(text: Any, marks: Any) -> str | None:
    if not isinstance(text, str) or not text.strip():
        return "there is no text"
    if marks is _Absent:
        return None
    try:
        spans = spans_of(marks)
    except ValueError as error:
        return str(error)
    if any(not 0 <= span.start < span.end <= len(text) for span in spans):
        return "a span does not lie inside of its text"
    if any(after.start < before.end for before, after in itertools.pairwise(spans)):
        return "spans overlap"
    says = ((one, one["text"]) for one in marks if isinstance(one, Mapping) and isinstance(one.get("text"), str))
    if any(text[one["start"] : one["end"]] != said for one, said in says):
        return "a span is not where the text that it tells stands"
    return None


def _by_name(rows: Rows, text: str | None, label: str | None) -> Found | None:
    names = {name.casefold(): name for name in rows.columns}
    for texts, tags, fits, why in (
        (TEXTS, SPANS, _are_spans, "texts with what is marked in them"),
        (WORDS, TAGS, _are_tags, "tokens with a tag each"),
    ):
        for one in [text] if text is not None else [names[name] for name in texts if name in names]:
            for other in [label] if label is not None else [names[name] for name in tags if name in names]:
                if one != other and fits(rows.columns[one], rows.columns[other]):
                    return one, other, why
    return None


def _by_shape(rows: Rows, text: str | None, label: str | None) -> Found | None:
    """Lists of texts beside lists of as many tags, of which there are far fewer different ones."""
    for one in [text] if text is not None else rows.columns:
        for other in [label] if label is not None else _tag_columns(rows, one):
            if one != other and _are_tags(rows.columns[one], rows.columns[other]):
                tokens, tags = (_different(rows.columns[name]) for name in (one, other))
                if text is not None or len(tags) < len(tokens):
                    return one, other, "tokens with a tag each, by the lists that they are"
    return None


def _different(cells: Sequence[object]) -> set[str]:
    return {str(item) for cell in cells if isinstance(cell, list) for item in cell}


def _tag_columns(rows: Rows, text: str) -> list[str]:
    """The columns that hold as many tags as a column of lists has tokens."""
    return [n for n, values in rows.columns.items() if n != text and _are_tags(rows.columns[text], values)]


def _are_tags(tokens: Sequence[object], tags: Sequence[object]) -> bool:
    """Lists of texts, and lists of names or numbers, mostly as long: rows that differ are told later."""
    pairs = [(a, b) for a, b in zip(tokens, tags, strict=True) if isinstance(a, list) and isinstance(b, list)]
    told = [item for a, b in pairs[:100] for item in (*a, *b)]
    same = sum(len(a) == len(b) for a, b in pairs)
    kinds = all(isinstance(item, str | int | None) for item in told)
    return kinds and 2 * same > len(tokens) and any(isinstance(item, str) for a, _ in pairs[:100] for item in a)


def _are_spans(texts: Sequence[object], marks: Sequence[object]) -> bool:
    """Texts, and lists of which those that are not empty hold spans."""
    if not all(isinstance(text, str | None) for text in texts):
        return False
    filled = [cell for cell in marks if isinstance(cell, list) and cell]
    if not filled or not all(isinstance(cell, list | None) for cell in marks):
        return False
    try:
        spans_of(filled[0])
    except ValueError:
        return False
    return True
