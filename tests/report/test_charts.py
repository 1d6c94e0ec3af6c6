"""Charts: round numbers, places, fronts, and nothing that could be read as markup."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from whet.report import axes, svg
from whet.report.axes import Scale, spanning


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1.0]),
        (0, 97, [0, 20, 40, 60, 80]),
        (-3, 3, [-2, 0, 2]),
        (0.712, 0.95, [0.75, 0.8, 0.85, 0.9, 0.95]),
        (0, 0.0003, [0, 0.0001, 0.0002, 0.0003]),
    ],
)
def test_ticks_are_round(low: float, high: float, wanted: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks() == pytest.approx(wanted)


def test_ticks_of_powers() -> None:
    assert Scale(0.5, 20000, 0, 1, logarithmic=True).ticks() == [1, 10, 100, 1000, 10000]
    assert Scale(3, 40, 0, 1, logarithmic=True).ticks() == [3, 10, 30]
    assert Scale(0.52, 4.4, 0, 1, logarithmic=True).ticks() == [0.6, 0.8, 1, 3]
    assert all(110 <= tick <= 190 for tick in Scale(110, 190, 0, 1, logarithmic=True).ticks())


def test_places_of_values() -> None:
    assert [Scale(0, 10, 100, 0)(value) for value in (0, 5, 10)] == [100, 50, 0]
    assert Scale(1, 100, 0, 10, logarithmic=True)(10) == 5
    assert Scale(2, 2, 0, 10)(2) == 5


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(0.25, "0.25"), (1e-5, "1e-5"), (0.00032, "3.2e-4"), (12000, "12k"), (3e6, "3M"), (0, "0"), (100.0, "100")],
)
def test_numbers_are_short(value: float, wanted: str) -> None:
    assert axes.written(value) == wanted


def test_a_scale_has_room_for_every_value_that_is_one() -> None:
    scale = spanning([1.0, math.nan, math.inf, 3.0], 0, 100)
    assert scale.low < 1 < 3 < scale.high < 4
    assert spanning([], 0, 1).low < spanning([], 0, 1).high
    assert spanning([5.0], 0, 1).low < 5 < spanning([5.0], 0, 1).high


def test_the_front_is_what_nothing_beats() -> None:
    points = [(3.0, 0.9), (1.0, 0.7), (2.0, 0.6), (4.0, 0.9), (5.0, 0.95)]
    assert svg.pareto(points, more_is_better=True) == [1, 0, 4]
    assert svg.pareto(points, more_is_better=False) == [1, 2]


def test_curves_stay_inside_and_gaps_are_gaps() -> None:
    x = np.arange(1.0, 1001.0)
    y = np.sin(x / 50)
    y[100:200] = math.nan
    drawn = svg.lines(
        [svg.Curve("loss", x, y)],
        alt="a curve",
        across="steps",
        bands=[svg.Band("a", 0, 500), svg.Band("b", 500, 1000)],
    )
    chart = ElementTree.fromstring(drawn)
    (path,) = (one for one in chart.iter("path") if "curve" in one.attrib["class"])
    assert path.attrib["d"].count("M") == 2
    numbers = [float(one) for one in path.attrib["d"].replace("M", " ").replace("L", " ").split()]
    assert min(numbers) >= 0
    assert max(numbers[::2]) <= svg.WIDTH
    assert max(numbers[1::2]) <= svg.HEIGHT


def test_names_are_never_markup() -> None:
    evil = '"><script>alert(1)</script>&'
    dots = [svg.Dot(evil, 1.0, 0.5, "1"), svg.Dot("b", 2.0, 0.6, "2")]
    drawn = svg.scatter(dots, alt=evil, across=evil, more_is_better=True, tell=str)
    chart = ElementTree.fromstring(drawn)
    assert chart.attrib["aria-label"] == evil
    assert not list(chart.iter("script"))
    mark = ElementTree.fromstring(svg.whisker(0.5, 0.4, 0.6, Scale(0, 1, 0, 100), evil, "s1"))
    assert mark.attrib["aria-label"] == evil


def test_a_chart_of_nothing_is_still_one() -> None:
    nothing = np.array([])
    ElementTree.fromstring(svg.lines([svg.Curve("a", nothing, nothing)], alt="", across=""))
    ElementTree.fromstring(svg.cloud(nothing, nothing, alt="", across=""))
    one = np.array([math.nan])
    ElementTree.fromstring(svg.lines([svg.Curve("a", np.array([1.0]), one)], alt="", across=""))


def test_the_running_mean_is_right_from_the_first_on() -> None:
    assert svg.smoothed(np.array([2.0, 2.0, math.nan, 2.0]), 0.9).tolist() == pytest.approx([2.0] * 4)
