"""The page of a search: whole, small, in both languages, and safe against what stands in the data."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from whet.report.plot import Axis, Line, Mark, Plot, Points, bars
from whet.report.search_page import WORDS, page
from whet.run.tuning import Plan, Trial, Tuning

EVIL = "<script>alert('&')</script>"


def search(count: int, language: str = "en") -> Tuning:
    """A search of so many trials, of which some have failed."""
    draws = np.random.default_rng(0)
    trials = []
    for number in range(count):
        settings: dict[str, object] = {
            "training.learning_rate": float(10 ** draws.uniform(-5, -3)),
            "method.rank": int(draws.choice([4, 8, 16])),
            "training.dropout": None if number % 2 else 0.2,
        }
        value = float(draws.uniform(0.6, 0.9))
        course = [(0.5, value - 0.1), (1.0, value)]
        state = "failed" if number % 7 == 3 else "pruned" if number % 7 == 5 else "finished"
        done = state == "finished"
        trials.append(
            Trial(
                number,
                settings,
                state,  # type: ignore[arg-type]  # one of its values
                score=value if done else None,
                scores={"accuracy": value} if done else {},
                course=course if state != "failed" else [],
                seconds=1.5,
                reason="" if done else EVIL,
            )
        )
    spaces = {"training.learning_rate": "1e-5..1e-3", "method.rank": "4,8,16", "training.dropout": "null,0.2"}
    plan = Plan({}, spaces, count, None, 1, 0, True, language)  # type: ignore[arg-type]  # one of its values
    finished = [trial for trial in trials if trial.score is not None]
    best = max(finished, key=lambda trial: trial.score or 0.0).number if finished else None
    return Tuning(
        plan, EVIL, "lora", "accuracy", True, {"validation": 90, "test": 100}, "whet tune x.csv", trials, 60.0, best,
        {"training.learning_rate": 0.7, "method.rank": 0.3}, {best: {"accuracy": 0.8}} if best is not None else {},
    )  # fmt: skip


def drawings(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html)]


@pytest.mark.parametrize("count", [0, 1, 2, 4, 30])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_page_is_whole_however_far_the_search_is(count: int, language: str) -> None:
    html = page(search(count, language))
    assert html.startswith("<!doctype html>")
    assert EVIL not in html
    assert "<script" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert len(html.encode()) < 300_000
    assert WORDS[language]["title"] in html
    assert html.count('<td class="number">') == 2 * count + count
    for drawing in drawings(html):
        for element in drawing.iter():
            for name in ("x", "y", "cx", "cy", "x1", "x2", "y1", "y2"):
                if name in element.attrib:
                    assert -20 <= float(element.attrib[name]) <= 700


def test_all_words_are_there_in_both_languages() -> None:
    assert WORDS["en"].keys() == WORDS["ko"].keys()
    for key in WORDS["en"]:
        places = [sorted(re.findall(r"{\w+}", WORDS[language][key])) for language in ("en", "ko")]
        assert places[0] == places[1]


def test_where_less_is_better_the_line_of_the_best_falls() -> None:
    made = replace(search(8), more_is_better=False)
    line = next(e for e in drawings(page(made))[0].iter() if e.tag.endswith("polyline"))
    heights = [float(place.split(",")[1]) for place in line.attrib["points"].split()]
    # Lower on the screen is a larger number.
    assert heights == sorted(heights)


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("", 0, 1), ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (Axis("", 0.61, 0.74), ["0.65", "0.7"]),
        (Axis("", 1e-5, 1e-3, log=True), ["1e-05", "1e-04", "0.001"]),
        (Axis("", 2e-4, 5e-4, log=True), ["2e-04", "5e-04"]),
        (Axis("", -0.5, 1.5, names=["a", "b"]), ["a", "b"]),
    ],
)
def test_axes_have_round_numbers(axis: Axis, ticks: list[str]) -> None:
    assert [name for _, name in axis.ticks()] == ticks


def test_a_drawing_is_valid_and_puts_points_where_they_belong() -> None:
    across, up = Axis("rate", 1e-5, 1e-3, log=True), Axis("loss", 0.0, 2.0)
    made = Plot(
        "a <title>",
        across,
        up,
        [Line([(1e-5, 2.0), (1e-3, 0.0)])],
        [Points([(1e-4, 1.0)], "b", ["<told>"])],
        [Mark(1e-4, "here")],
        alone=True,
    )
    root = ElementTree.fromstring(made.svg())
    circle = next(element for element in root.iter() if element.tag.endswith("circle"))
    assert circle.attrib["cx"] == f"{56 + (640 - 56 - 14) / 2:.1f}"
    assert circle.attrib["cy"] == f"{280 - 40 - (280 - 12 - 40) / 2:.1f}"
    assert circle[0].text == "<told>"
    ElementTree.fromstring(bars("b", [("x", 0.5), ("<y>", 0.0)]))
