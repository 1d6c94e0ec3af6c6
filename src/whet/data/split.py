"""Who trains, who validates, who tests.

Rows with the same text, or of the same group, never stand on two sides. Knows no file format and no task.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from whet.core import Choice, Columns, Rows
from whet.errors import DataError

BINS = 10
"""Strata for the values of a regression."""

MOST_CLASSES = 20
"""More distinct numbers than this can be the values of a regression."""

_WAY_OUT = "give more rows, or files of their own with data.validation and data.test"


def split(rows: Rows, columns: Columns, *, validation: float, test: float, seed: int) -> dict[str, Rows]:
    """Rows by side: ``train``, and ``validation`` and ``test`` where their share is not 0.

    Every row stands on exactly one side, in its old order. Classes (or ten bins of the values of a regression, or the
    rarest label of a multi-label row) are spread evenly, and a class with at least as many separate texts or groups
    as there are sides stands on each of them; a rarer class trains. The same seed gives the same split on every
    platform. Raises DataError where the shares are impossible or a side would stay empty.
    """
    shares = {"train": 1 - validation - test, "validation": validation, "test": test}
    _check_shares(validation, test)
    sides = [side for side, share in shares.items() if share > 0]
    component = _components(rows, columns)
    strata = _strata(rows, columns)
    count = int(component.max(initial=-1)) + 1
    if count < len(sides):
        kind = "group" if columns.group is not None else f"different {_text(rows)}"
        made = f"only {count} {kind}{'' if count == 1 else 's'}"
        raise DataError(
            f"{rows.source} cannot be split into {' and '.join(sides)}: its {len(rows):,} rows make {made}, "
            f"and rows of one {kind.split()[-1]} never stand on two sides; {_WAY_OUT}"
        )
    side = _assign(component, strata, [shares[name] for name in sides], seed)[component]
    empty = [name for position, name in enumerate(sides) if not (side == position).any()]
    if empty:
        raise DataError(
            f"{rows.source} cannot be split: no row would be left for {' and '.join(empty)}, since the "
            f"{int(strata.max()) + 1} classes of its {len(rows):,} rows have too few different {_text(rows)}s each; "
            f"{_WAY_OUT}"
        )
    return {name: rows.take(np.flatnonzero(side == position).tolist()) for position, name in enumerate(sides)}


def without_leaks(splits: dict[str, Rows], columns: Columns) -> tuple[dict[str, Rows], list[Choice]]:
    """``splits`` without the rows that a later side has too, and how many were left out of which side.

    A training row goes where its text or its group also stands in validation or test, a validation row where it also
    stands in test. Every split must have the columns. Raises DataError where a side would stay empty.
    """
    kept = dict(splits)
    choices = []
    for side, later in (("validation", ("test",)), ("train", ("validation", "test"))):
        if side not in kept:
            continue
        reasons = []
        for other in later:
            if other in kept:
                kept[side], told = _without(kept[side], kept[other], columns, side)
                reasons += told
        if reasons:
            choices.append(Choice(f"data.{side}", len(kept[side]), "inferred", "; ".join(reasons)))
    return kept, choices


def _without(rows: Rows, other: Rows, columns: Columns, side: str) -> tuple[Rows, list[str]]:
    texts = set(_text_keys(other, columns))
    groups = set(_group_keys(other, columns)) - {None}
    same_text = [key in texts for key in _text_keys(rows, columns)]
    same_group = [key in groups for key in _group_keys(rows, columns)] if groups else [False] * len(rows)
    keep = [i for i in range(len(rows)) if not same_text[i] and not same_group[i]]
    if not keep:
        raise DataError(
            f"every row of {rows.source} ({side}) also stands in {other.source}: nothing new would be measured; "
            "give two different files, or only one, which is then split"
        )
    reasons = []
    for number, what in (
        (sum(same_text), _text(rows)),
        (sum(g and not t for g, t in zip(same_group, same_text, strict=True)), f"'{columns.group}'"),
    ):
        if number:
            subject = f"{number:,} row{'s' if number > 1 else ''} whose {what} also stands in {other.source}"
            verb = "were" if number > 1 else "was"
            reasons.append(f"{subject} {verb} left out of {'training' if side == 'train' else side}")
    return (rows.take(keep) if reasons else rows), reasons


def _check_shares(validation: float, test: float) -> None:
    problems = [
        f"the {name} share {share} is not between 0 and 1; such as 0.1"
        for name, share in (("validation", validation), ("test", test))
        if not 0 <= share < 1
    ]
    if not problems and validation + test >= 1:
        total = validation + test
        problems = [f"validation {validation} and test {test} make {total:g} of the rows: none are left to train on"]
    if problems:
        raise DataError(*problems)


def _text(rows: Rows) -> str:
    """What to call that which the model reads of a row."""
    return "text" if rows.content is None else "content"


def _text_keys(rows: Rows, columns: Columns) -> list[Hashable]:
    """(N,) what makes two rows the same: of texts case, white space and Unicode composition do not count."""
    if rows.content is not None:
        return list(rows.content)
    sides = [[_normalised(value) for value in rows.columns[name]] for name in columns.text]
    return list(sides[0]) if len(sides) == 1 else list(zip(*sides, strict=True))


def _normalised(value: object) -> str:
    return unicodedata.normalize("NFC", " ".join(("" if value is None else str(value)).split()).casefold())


def _group_keys(rows: Rows, columns: Columns) -> list[str | None]:
    """(N,) the group of each row; None for a row that names none."""
    if columns.group is None:
        return [None] * len(rows)
    return [None if _nothing(value) else str(value).strip() for value in rows.columns[columns.group]]


def _nothing(value: object) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _components(rows: Rows, columns: Columns) -> np.ndarray:
    """(N,) number of the set of rows that each row belongs to, by text and by group, through any chain of both."""
    texts = _numbered(_text_keys(rows, columns))
    if columns.group is None:
        return texts
    # A row without a group forms one with the rows of its text.
    groups = _numbered(
        ("text", text) if key is None else key
        for text, key in zip(texts.tolist(), _group_keys(rows, columns), strict=True)
    )
    parent = list(range(int(groups.max(initial=-1)) + 1))
    first: dict[int, int] = {}
    for text, group in zip(texts.tolist(), groups.tolist(), strict=True):
        one, other = _root(parent, first.setdefault(text, group)), _root(parent, group)
        parent[max(one, other)] = min(one, other)
    return _numbered(_root(parent, group) for group in groups.tolist())


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _numbered(keys: Iterable[Hashable]) -> np.ndarray:
    """Equal keys become equal numbers, counted from 0 in the order of first appearance."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _strata(rows: Rows, columns: Columns) -> np.ndarray:
    """(N,) number of the stratum of each row."""
    if not columns.label:
        return np.zeros(len(rows), dtype=np.int64)
    if len(columns.label) > 1:
        flags = [[_is_set(value) for value in rows.columns[name]] for name in columns.label]
        sets: list[list[str]] = [
            [name for name, flag in zip(columns.label, row, strict=True) if flag] for row in zip(*flags, strict=True)
        ]
        return _rarest(sets)
    values = rows.columns[columns.label[0]]
    if any(isinstance(value, list) for value in values):
        return _rarest([[str(item) for item in value] if isinstance(value, list) else [] for value in values])
    numbers = _numbers(values)
    if numbers is not None:
        distinct = len(np.unique(numbers))
        whole = bool((numbers == np.floor(numbers)).all())
        # Whole numbers that come back often are the numbers of classes.
        if distinct > MOST_CLASSES and not (whole and distinct * 5 <= len(numbers)):
            bins = min(BINS, max(1, len(numbers) // BINS))
            edges = np.quantile(numbers, np.arange(1, bins) / bins)
            return np.searchsorted(edges, numbers, side="right").astype(np.int64)
    return _numbered(str(value).strip() for value in values)


def _is_set(value: object) -> bool:
    return str(value).strip() in {"1", "1.0", "True", "true"}


def _rarest(sets: Sequence[Sequence[str]]) -> np.ndarray:
    """(N,) the rarest label of each row, all rows without one together."""
    counts = Counter(label for labels in sets for label in labels)
    return _numbered(min(labels, key=lambda label: (counts[label], label)) if labels else None for labels in sets)


def _numbers(values: Sequence[object]) -> np.ndarray | None:
    """The values as finite numbers, or None where one is none."""
    try:
        numbers = np.array([float(value) for value in values if isinstance(value, str | int | float)])
    except ValueError:
        return None
    return numbers if len(numbers) == len(values) and np.isfinite(numbers).all() else None


class _Ledger:
    """What every side still lacks of every stratum, while components are handed out."""

    def __init__(self, rows: Sequence[int], components: Sequence[int], shares: Sequence[float]) -> None:
        """``rows`` and ``components`` of each stratum; the share of each side."""
        self.wanted = [[share * number for share in shares] for number in rows]
        self.wanted_in_all = [share * sum(rows) for share in shares]
        self.left = list(components)
        self.without = [list(range(len(shares))) if number >= len(shares) else [] for number in components]
        """Sides that have nothing of a stratum yet; kept only for strata that can reach all sides."""

    def choose(self, strata: Sequence[int]) -> int:
        """The side for a component of these strata: the one that lacks most of the stratum with fewest left."""
        rarest_first = sorted(strata, key=self.left.__getitem__)
        allowed: Sequence[int] = range(len(self.wanted_in_all))
        for stratum in rarest_first:
            # From here on every component must go to a side that has none of its stratum.
            if self.left[stratum] <= len(self.without[stratum]):
                allowed = self.without[stratum]
                break
        wanted = self.wanted[rarest_first[0]]
        return max(allowed, key=lambda side: (wanted[side], self.wanted_in_all[side]))

    def enter(self, stratum: int, rows: int, side: int) -> None:
        """Book ``rows`` of one stratum, all of one component, on a side."""
        self.wanted[stratum][side] -= rows
        self.wanted_in_all[side] -= rows
        self.left[stratum] -= 1
        if side in self.without[stratum]:
            self.without[stratum].remove(side)


def _assign(component: np.ndarray, strata: np.ndarray, shares: Sequence[float], seed: int) -> np.ndarray:
    """The side of each component: those of rare strata choose first, then large ones, then chance decides."""
    # (2, P) component and stratum of every pair that occurs, ordered by component; (P,) its rows
    pairs, pair_rows = np.unique(np.stack([component, strata]), axis=1, return_counts=True)
    components_of = np.bincount(pairs[1])
    ledger = _Ledger(np.bincount(strata).tolist(), components_of.tolist(), shares)
    sizes = np.bincount(component)
    rarest = np.full(len(sizes), len(component))
    np.minimum.at(rarest, pairs[0], components_of[pairs[1]])
    shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(len(sizes))
    order = shuffled[np.lexsort((-sizes[shuffled], rarest[shuffled]))]
    starts = np.searchsorted(pairs[0], np.arange(len(sizes) + 1)).tolist()
    strata_of, rows_of = pairs[1].tolist(), pair_rows.tolist()
    sides = np.zeros(len(sizes), dtype=np.int64)
    for index in order.tolist():
        span = slice(starts[index], starts[index + 1])
        side = ledger.choose(strata_of[span])
        sides[index] = side
        for stratum, rows in zip(strata_of[span], rows_of[span], strict=True):
            ledger.enter(stratum, rows, side)
    return sides
