"""Tags that mark parts: read as leniently as conlleval does, whatever breaks the rules."""

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whet import metrics
from whet.data.tag_schemes import going_on, is_scheme, marked, of_labels, parts


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("O B-a I-a O", [(1, 3, "a")]),
        ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
        # IOB1: I- begins, B- only parts neighbours of one kind.
        ("I-a I-a B-a O I-b", [(0, 2, "a"), (2, 3, "a"), (4, 5, "b")]),
        # I- of another label begins a new part.
        ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
        ("S-a B-b I-b E-b E-b", [(0, 1, "a"), (1, 4, "b"), (4, 5, "b")]),
        ("U-a B-b L-b I-b", [(0, 1, "a"), (1, 3, "b"), (3, 4, "b")]),
        ("B-creative-work I-creative-work", [(0, 2, "creative-work")]),
        ("S-a I-a", [(0, 1, "a"), (1, 2, "a")]),
        ("", []),
    ],
)
def test_parts_are_read(tags: str, expected: list[tuple[int, int, str]]) -> None:
    assert parts(tags.split()) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["O", "B-a", "I-a"], True),
        (["S-a", "E-b"], True),
        (["O"], False),
        (["NOUN", "VERB", "O"], False),
        (["0", "1"], False),
        (["B-a", "NOUN"], False),
    ],
)
def test_a_scheme_is_told_from_plain_tags(names: list[str], expected: bool) -> None:
    assert is_scheme(names) is expected


def test_tags_go_on_and_are_made_of_parts() -> None:
    assert [going_on(tag) for tag in ("B-a-b", "S-a", "O", "NOUN")] == ["I-a-b", "I-a", "O", "NOUN"]
    assert marked(parts(["O", "B-a", "I-a", "B-b"]), 5) == ["O", "B-a", "I-a", "B-b", "O"]
    assert of_labels(["b"]) == ["O", "B-b", "I-b"]


TAGS = st.lists(
    st.lists(st.sampled_from(["O", *(f"{mark}-{label}" for mark in "BIES" for label in ("x", "y-z"))]), min_size=1),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(TAGS, st.randoms(use_true_random=False))
def test_scores_are_those_of_seqeval(wanted: list[list[str]], random: object) -> None:
    reference = pytest.importorskip("seqeval.metrics")
    flat = [tag for row in wanted for tag in row]
    found = [random.sample(flat, len(row)) if random.random() < 0.7 else row for row in wanted]  # type: ignore[attr-defined]
    scores = metrics.parts((parts(row) for row in found), (parts(row) for row in wanted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [getattr(reference, f"{name}_score")(wanted, found) for name in ("f1", "precision", "recall")]
    assert list(scores.values()) == pytest.approx(expected)
