"""Which columns hold texts and what they are to become. Knows no model and no file format."""

from __future__ import annotations

from collections.abc import Sequence

from whet.core import Choice, Columns, Problem, Rows
from whet.data import columns as columns_of
from whet.data.problems import first_few
from whet.errors import DataError
from whet.protocols import COMPLETE

PAIRS = (
    ("source", ("target",)),
    ("src", ("tgt", "trg")),
    ("document", ("summary", "tldr")),
    ("dialogue", ("summary",)),
    ("article", ("highlights", "summary", "abstract")),
    ("text", ("summary", "target", "headline")),
    ("input", ("target", "output")),
    ("question", ("answer",)),
    ("원문", ("번역", "번역문", "요약", "요약문")),
    ("본문", ("요약", "요약문", "제목")),
    ("문서", ("요약", "요약문")),
    ("질문", ("답변", "대답")),
)
"""Names of columns with sources, and of those with the targets that belong to them, the surest first."""
SURE = 5
"""So many of them say what is to be done."""


def is_rewritten(rows: Rows) -> str | None:
    """Why texts are to become other texts; None where that is not sure."""
    names = {name.casefold(): name for name in rows.columns}
    if any(name in names for tier in columns_of.LABEL_NAMES[:1] for name in tier):
        return None
    for source, targets in PAIRS[:SURE]:
        found = next((names[name] for name in targets if name in names), None)
        if (
            source in names
            and found is not None
            and all(map(_differ, (rows.columns[names[source]], rows.columns[found])))
        ):
            return f"column '{names[source]}' comes with '{found}'"
    return None


def infer(
    rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
) -> tuple[Columns, list[Choice]]:
    """Columns of sources and of targets; raises DataError where they are not clear."""
    many = [f"data.{option}" for option, names in (("text", text), ("label", label)) if names and len(names) > 1]
    if many:
        raise DataError(f"{' and '.join(many)}: one column becomes one other; name one")
    if text and label:
        return columns_of.infer(rows, text=text, label=label, group=group)
    columns_of.check(rows, Columns(tuple(text or ()), tuple(label or ()), group))
    names = {name.casefold(): name for name in rows.columns}
    given = (text[0] if text else None, label[0] if label else None)
    found, why = _by_name(names, *given), "by their names"
    if found is None and any(given):
        others = [n for n, values in rows.columns.items() if n not in given and _differ(values)]
        if len(others) == 1:
            found, why = (given[0] or others[0], given[1] or others[0]), "the only other column of texts"
    if found is None:
        raise DataError(
            f"which column of {rows.source} is the source and which the target is not clear; columns are "
            f"{first_few([repr(name) for name in rows.columns])}; name both, such as --set data.text=en --set "
            "data.label=de"
        )
    choices = [
        Choice(path, name, "given" if named else "inferred", "" if named else why)
        for path, named, name in zip(("data.text", "data.label"), given, found, strict=True)
    ]
    if group is not None:
        choices.append(Choice("data.group", group, "given"))
    return Columns((found[0],), (found[1],), group), choices


class PairedTexts:
    """What a task is told of rows with sources and targets."""

    @property
    def problem(self) -> Problem:
        """A text is to be written."""
        return "target_text"

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        """By well-known names, or by the one that is named."""
        return infer(rows, text=text, label=label, group=group)

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        """The rows that have a source, and a target where they should."""
        from whet.data import written_columns  # noqa: PLC0415  it imports transformers, and recipes are checked without

        return written_columns.usable(rows, columns, "pairs", drop=drop, labelled=labelled, way_out=way_out)

    def openings(self, rows: Rows, columns: Columns) -> Rows:  # noqa: ARG002
        """The rows: a source is asked as it is."""
        return rows


def _by_name(names: dict[str, str], text: str | None, label: str | None) -> tuple[str, str] | None:
    for source, targets in PAIRS:
        for target in targets:
            found = names.get(source), names.get(target)
            if found[0] is None or found[1] is None:
                continue
            if text in (None, found[0]) and label in (None, found[1]):
                return found[0], found[1]
    return None


def _differ(values: Sequence[object]) -> bool:
    """Are these texts, most of which differ?"""
    return all(isinstance(value, str | None) for value in values) and 2 * len(set(values)) > len(values)
