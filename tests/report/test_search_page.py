"""The page of a search: whole, small, in both languages, and safe against what stands in the data."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

import whet
from tests.report.folders import EVIL, search
from whet.errors import RunFolderError
from whet.report import screen, svg
from whet.report.page import of_search
from whet.report.search_page import search_page
from whet.report.words import Words
from whet.run import tuning as searches
from whet.run.tuning import Tuning
from whet.verbs.report import content


def page(tuning: Tuning, language: str = "en") -> str:
    t = Words(language)
    return of_search(search_page(tuning, t), t, "1")


def drawings(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg[^>]*chart.*?</svg>", html)]


@pytest.mark.parametrize("count", [0, 1, 2, 4, 30])
@pytest.mark.parametrize("language", ["en", "ko"])
def test_a_page_is_whole_however_far_the_search_is(count: int, language: str) -> None:
    html = page(search(count, language), language)
    assert html.startswith("<!doctype html>")
    assert EVIL not in html
    assert "http" not in html.replace('http-equiv="Content-Security-Policy"', "")
    assert len(html.encode()) < 300_000
    assert Words(language)("What was searched") in html
    assert html.count('<td class="number soft">') == count
    # Two charts of the course, and one for each setting once there are two scores.
    assert len(drawings(html)) == {0: 0, 1: 2, 2: 5, 4: 5, 30: 5}[count]
    for drawing in drawings(html):
        for element in drawing.iter():
            for name, most in {"x": svg.WIDTH, "cx": svg.WIDTH, "y": svg.HEIGHT, "cy": svg.HEIGHT}.items():
                if name in element.attrib:
                    assert 0 <= float(element.attrib[name]) <= most


def test_the_page_says_what_was_best_and_what_new_rows_say() -> None:
    shown = search_page(search(30), Words())
    best = shown.rows[0]
    assert best.best
    assert shown.said.headline == f"Trial {best.number} is the best: Accuracy {best.value} on the validation rows"
    assert any("80.0%" in sentence for sentence in shown.said.sentences)
    assert [name for name, _ in shown.importance] == ["learning_rate", "method.rank"]
    assert search_page(search(0), Words()).said.tone == "open"


def heights(html: str) -> list[float]:
    """Of the line of the best, from left to right."""
    line = next(e for e in drawings(html)[0].iter() if "curve" in e.get("class", ""))
    return [float(place.split(" ")[1]) for place in re.split("[ML]", line.attrib["d"])[1:]]


@pytest.mark.parametrize("more_is_better", [True, False])
def test_the_line_of_the_best_never_goes_back(more_is_better: bool) -> None:
    made = search(8)
    if not more_is_better:
        trials = [one if one.score is None else replace(one, score=1 - one.score) for one in made.trials]
        made = replace(made, trials=trials, more_is_better=False)
    found = heights(page(made))
    # Lower on the screen is a larger number.
    assert found == sorted(found, reverse=more_is_better)
    assert len(set(found)) > 1


def test_settings_that_are_no_numbers_stand_as_names() -> None:
    chart = next(one for one in search_page(search(30), Words()).slices if one.title == "dropout")
    told = [
        element.text
        for element in ElementTree.fromstring(chart.drawing).iter()
        if element.get("class") == "tick middle"
    ]
    assert told == ["null", "0.2"]


def test_a_chart_alone_is_a_valid_file_that_needs_no_page() -> None:
    curve = svg.Curve("<loss>", np.array([1e-5, 1e-4, 1e-3]), np.array([2.0, 1.0, 0.0]))
    made = svg.alone(svg.lines([curve], alt="a", across="rate", marks=[svg.Mark("here", 1e-4)], logarithmic=True))
    root = ElementTree.fromstring(made)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    line = next(element for element in root.iter() if element.get("class") == "stage")
    assert float(line.attrib["x1"]) == svg.LEFT + (svg.WIDTH - svg.LEFT - svg.RIGHT) / 2
    classes = {name for element in root.iter() for name in element.get("class", "").split()}
    assert classes - {"chart", "tick", "across", "stage-name"} == {*re.findall(r"\.([a-z0-9-]+)", svg.ALONE)} & classes


def test_a_search_is_reported_like_a_run(tmp_path: Path) -> None:
    searches.write(tmp_path, search(4))
    written = whet.write_report(tmp_path, language="ko")
    assert written.path == tmp_path / searches.PAGE
    assert "설정 탐색" in written.path.read_text()
    console = Console(file=StringIO(), width=100)
    screen.show(console, content([tmp_path], Words()))
    assert "All trials, by Accuracy" in console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO
    with pytest.raises(RunFolderError, match="is a search; report it by itself"):
        whet.write_report([tmp_path, tmp_path])
