"""Which column is the text, which the label, and why.

Goes by well-known names first and by the shape of the values second. Knows no task and no file format.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from whet.core import Choice, Columns, Rows
from whet.data.problems import first_few
from whet.errors import DataError, did_you_mean

LABEL_NAMES = (
    {"label", "labels", "라벨", "레이블"},
    {"class", "classes", "target", "y", "gold", "정답", "클래스"},
    {
        *("category", "intent", "sentiment", "emotion", "emotions", "topic", "polarity", "stance", "score"),
        *("rating", "stars", "star", "similarity", "toxicity", "분류", "감정", "감성", "의도", "카테고리", "주제"),
        *("유형", "점수", "평점", "별점"),
    },
)
"""Names a label goes by, the surest first; two columns of one tier are ambiguous, but for the first tier."""

TEXT_NAMES = (
    {"text", "texts", "sentence", "문장", "텍스트", "본문", "내용"},
    {
        *("document", "review", "message", "content", "comment", "body", "question", "query", "utterance", "tweet"),
        *("post", "article", "sms", "email", "passage", "dialogue", "리뷰", "문의", "질문", "발화", "댓글", "후기"),
        *("메시지", "문서", "상담", "의견"),
    },
    {"title", "headline", "subject", "description", "summary", "제목", "설명", "요약"},
)
"""Names a text goes by, the surest first; of two columns of one tier the longer texts win."""

PAIR_NAMES = (
    ("premise", "hypothesis"),
    ("전제", "가설"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
    ("query", "document"),
)
"""Pairs beside the numbered ones (sentence1 and sentence2, text_a and text_b), which any name can form."""

_LABEL_WORDS = {"label", "labels", "라벨", "레이블", "class", "category"}
_ID_WORDS = {
    *("id", "ids", "idx", "index", "uuid", "guid", "key", "row", "no", "number", "split", "fold"),
    *("번호", "순번", "아이디"),
}
_ID_VALUE = re.compile(r"https?://\S*|(?=\S*\d)[\w./:@-]+|[\d\s:./TZ+-]+")
_SAMPLE = 1000


@dataclass(frozen=True)
class _Profile:
    """What the values of a column look like."""

    name: str
    filled: int
    """Values that are neither None nor blank."""
    distinct: int
    strings: bool
    """True where the values are texts and not all of them numbers."""
    numbers: bool
    scalars: bool
    """False where a value is a list, an object or bytes."""
    mean_length: float
    id_values: bool

    @classmethod
    def of(cls, name: str, values: Sequence[object]) -> "_Profile":
        filled = [value for value in values if not _blank(value)]
        scalars = all(isinstance(value, str | bool | int | float) for value in filled)
        numbers = scalars and bool(filled) and all(_is_number(value) for value in filled)
        strings = scalars and not numbers and any(isinstance(value, str) for value in filled)
        distinct = len(set(filled)) if scalars else len({repr(value) for value in filled})
        lengths = [len(value) for value in filled if isinstance(value, str)]
        id_values = bool(filled) and strings and distinct == len(filled) > 1
        id_values = id_values and all(_ID_VALUE.fullmatch(str(value).strip()) for value in filled[:_SAMPLE])
        mean_length = sum(lengths) / len(lengths) if lengths else 0.0
        return cls(name, len(filled), distinct, strings, numbers, scalars, mean_length, id_values)

    @property
    def words(self) -> list[str]:
        """The words of the name: ``reviewId`` and ``review_id`` are both review, id."""
        spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", unicodedata.normalize("NFC", self.name))
        return [word for word in re.split(r"[\W_]+", spaced.casefold()) if word]

    @property
    def plain_name(self) -> str:
        return "_".join(self.words)

    @property
    def identifies(self) -> bool:
        """True for a column that names or files rows: never a text, never a label."""
        words = self.words
        named = not words or words[-1] in _ID_WORDS or words[0] == "unnamed" or words[:2] == ["index", "level"]
        return (named and not _LABEL_WORDS & set(words)) or self.id_values

    @property
    def text_like(self) -> bool:
        return self.strings and not self.identifies and self.distinct * 2 >= self.filled

    @property
    def repeats(self) -> bool:
        """True where values come back often enough to be classes."""
        few = self.distinct == 2 or self.distinct * 2 <= self.filled
        return 2 <= self.distinct < self.filled and few and self.mean_length < 100


def infer(
    rows: Rows,
    *,
    text: Sequence[str] | None,
    label: Sequence[str] | None,
    group: str | None,
    labelled: bool = True,
) -> tuple[Columns, list[Choice]]:
    """Which columns of ``rows`` hold text, label and group, and the reason for each.

    Columns that are named are only checked. ``labelled`` False allows rows without a label. Raises DataError that
    lists every name that is missing, or the candidates where the choice is not clear.
    """
    taken = [*(text or ()), *(label or ()), *([group] if group is not None else [])]
    _check_named(rows, taken)
    both = [name for name in text or () if name in (label or ())]
    if both:
        raise DataError(f"column '{both[0]}' of {rows.source} cannot be both text and label; name two columns")
    free: dict[str, _Profile] = {}
    if text is None or label is None:
        free = {name: _Profile.of(name, values) for name, values in rows.columns.items() if name not in taken}
    labels = _Found(tuple(label)) if label is not None else _named_label(free, rows.source, labelled)
    texts = _Found(tuple(text)) if text is not None else _find_text(_without(free, labels.names), rows.source)
    if label is None and not labels.names:
        labels = _shaped_label(_without(free, texts.names), rows, labelled)
    choices = [texts.choice("data.text")]
    if labels.names:
        choices.append(labels.choice("data.label"))
    if group is not None:
        choices.append(Choice("data.group", group, "given"))
    return Columns(texts.names, labels.names, group), choices


@dataclass(frozen=True)
class _Found:
    """Columns for one part, and why; no reason where the user named them."""

    names: tuple[str, ...]
    reason: str = ""

    def choice(self, path: str) -> Choice:
        """What to tell the user; one name stands as it is written in a recipe, several as a list."""
        value = self.names[0] if len(self.names) == 1 else list(self.names)
        return Choice(path, value, "inferred" if self.reason else "given", self.reason)


def _without(free: Mapping[str, _Profile], names: Sequence[str]) -> dict[str, _Profile]:
    return {name: profile for name, profile in free.items() if name not in names}


def _named_label(free: Mapping[str, _Profile], source: str, labelled: bool) -> _Found:
    """The label by the name of its column; nothing where no name is known."""
    usable = [profile for profile in free.values() if profile.filled and not profile.identifies]
    for tier, names in enumerate(LABEL_NAMES):
        hits = [profile for profile in usable if profile.plain_name in names]
        # The surest names hold whatever their values are; others could as well name a text.
        hits = [hit for hit in hits if tier == 0 or not hit.text_like or hit.repeats]
        if hits and (len(hits) == 1 or tier == 0):
            others = [p.name for p in usable if p not in hits[:1] and (_known_label(p) or _label_word(p))]
            return _Found((hits[0].name,), _label_reason(hits[0], others))
        if hits:
            return _unclear(hits, source, labelled)
    hits = [profile for profile in usable if _label_word(profile) and not profile.text_like]
    if len(hits) > 1:
        return _unclear(hits, source, labelled)
    return _Found((hits[0].name,), _label_reason(hits[0], [])) if hits else _Found(())


def _known_label(profile: _Profile) -> bool:
    return any(profile.plain_name in names for names in LABEL_NAMES) and not profile.text_like


def _label_word(profile: _Profile) -> bool:
    return bool(_LABEL_WORDS & set(profile.words))


def _label_reason(profile: _Profile, others: list[str]) -> str:
    tail = f"; {_quoted(others)} could be a label too and is not used" if others else ""
    return f"by its name: {_values(profile)}{tail}"


def _values(profile: _Profile) -> str:
    return f"{profile.distinct:,} different values in {profile.filled:,} rows"


def _shaped_label(free: Mapping[str, _Profile], rows: Rows, labelled: bool) -> _Found:
    """The label by its values: few of them that come back, else the one column of numbers."""
    usable = [profile for profile in free.values() if profile.scalars and not profile.identifies]
    hits = [profile for profile in usable if profile.repeats]
    flags = [hit for hit in hits if all(_is_flag(value) for value in rows.columns[hit.name])]
    if len(flags) >= 3 and len(flags) == len(hits):
        names = tuple(hit.name for hit in hits)
        return _Found(names, f"{len(names)} columns hold nothing but 0 and 1: {first_few(names)}; several can apply")
    reason = "the only column whose values come back, "
    if not hits:
        hits = [profile for profile in usable if profile.numbers and profile.distinct > 1]
        reason = "the only column of numbers, "
    if len(hits) == 1:
        hit = hits[0]
        sentence = any(" " in name for name in rows.columns)
        if sentence and hit.name in {str(value).strip() for value in rows.columns[hit.name]}:
            raise DataError(
                f"{rows.source} seems to have no header: '{hit.name}' stands in its first line and is a value as well; "
                "add a line with the names of the columns, such as text,label"
            )
        return _Found((hit.name,), reason + _values(hit))
    if hits:
        return _unclear(hits, rows.source, labelled)
    if labelled:
        raise DataError(
            f"no column of {rows.source} looks like a label: no known name, and no other column with few values that "
            f"come back; columns are {_quoted(rows.columns)}; name it with --set data.label=NAME"
        )
    return _Found(())


def _unclear(hits: Sequence[_Profile], source: str, labelled: bool) -> _Found:
    if not labelled:
        return _Found(())
    listed = first_few([f"'{hit.name}' ({_values(hit)})" for hit in hits])
    example = f"--set data.label={hits[0].name}"
    raise DataError(
        f"which column of {source} is the label is not clear: {listed}; name it, for example with {example}"
    )


def _find_text(free: Mapping[str, _Profile], source: str) -> _Found:
    """One column or a pair, by name, else the longest mostly distinct texts; raises DataError where there is none."""
    usable = [p for p in free.values() if p.strings and not p.identifies]
    pair = _pair(usable)
    if pair is not None:
        names = (pair[0].name, pair[1].name)
        return _Found(names, f"a pair by their names{_left_out(usable, names)}")
    for known in TEXT_NAMES:
        hits = [profile for profile in usable if profile.plain_name in known]
        if hits:
            best = max(hits, key=lambda profile: profile.mean_length)
            length = f"texts of {best.mean_length:.0f} characters on average"
            return _Found((best.name,), f"by its name: {length}{_left_out(usable, (best.name,))}")
    hits = [profile for profile in usable if profile.text_like]
    # such as clean_text or review_text
    hits = [hit for hit in hits if TEXT_NAMES[0] & set(hit.words)] or hits
    if not hits:
        raise DataError(
            f"no column of {source} looks like text: no known name, and no column of mostly different texts; "
            f"columns are {_quoted(free)}; name it with --set data.text=NAME"
        )
    best = max(hits, key=lambda profile: profile.mean_length)
    reason = (
        f"the longest texts (mean {best.mean_length:.0f} characters), {best.distinct:,} of {best.filled:,} distinct"
    )
    return _Found((best.name,), f"{reason}{_left_out(usable, (best.name,))}")


def _pair(usable: Sequence[_Profile]) -> tuple[_Profile, _Profile] | None:
    texts = {profile.plain_name: profile for profile in usable}
    for first, second in PAIR_NAMES:
        if first in texts and second in texts:
            return texts[first], texts[second]
    for name, profile in texts.items():
        match = re.fullmatch(r"(.*[^\W\d_])(_?)(1|a)", name)
        # without the line between, a last letter a is part of a word
        if match is None or (match[3] == "a" and not match[2]):
            continue
        other = texts.get(f"{match[1]}{match[2]}{'2' if match[3] == '1' else 'b'}")
        if other is not None and not profile.repeats:
            return profile, other
    return None


def _left_out(usable: Sequence[_Profile], chosen: Iterable[str]) -> str:
    """The tail of a reason that names the other columns of texts."""
    texts = [profile.name for profile in usable if profile.text_like and not profile.repeats]
    others = [name for name in texts if name not in set(chosen)]
    return f"; {_quoted(others)} {'is' if len(others) == 1 else 'are'} not used" if others else ""


def check(rows: Rows, columns: Columns) -> None:
    """Raise DataError where rows lack one of the columns."""
    _check_named(rows, [*columns.text, *columns.label, *([] if columns.group is None else [columns.group])])


def _check_named(rows: Rows, names: Sequence[str]) -> None:
    problems = [
        f"column '{name}' not in {rows.source}{did_you_mean(name, rows.columns)}"
        for name in dict.fromkeys(names)
        if name not in rows.columns
    ]
    if problems:
        raise DataError(*problems)


def _blank(value: object) -> bool:
    return (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (isinstance(value, float) and math.isnan(value))
    )


def _is_number(value: object) -> bool:
    if not isinstance(value, str):
        return isinstance(value, int | float)
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_flag(value: object) -> bool:
    return str(value).strip() in {"0", "1", "0.0", "1.0", "True", "False"}


def _quoted(names: Iterable[str]) -> str:
    return first_few([f"'{name}'" for name in names])
