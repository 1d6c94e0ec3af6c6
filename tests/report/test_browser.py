"""Pages in a real browser: nothing overflows at three widths, in both themes, nothing is complained of or asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import CHROMIUM, Browser
from tests.report.folders import classified, compared, searched
from whet.verbs.report import write_report

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")]

WIDE = "한국어도 아주길게붙여쓴단어가있으면줄이바뀌어야한다" * 6 + " " + "w" * 300 + " {number}"
OVERFLOW = "[document.documentElement.scrollWidth, innerWidth]"
TINY = """
[...document.querySelectorAll('body *')].filter(one => one.childNodes.length && [...one.childNodes].some(
  child => child.nodeType === 3 && child.textContent.trim()) && one.getClientRects().length
  && !one.closest('.unseen') && !['SCRIPT', 'STYLE', 'title'].includes(one.tagName)
).filter(one => {
  const chart = one.closest('svg.chart');
  const scale = chart ? chart.getBoundingClientRect().width / chart.viewBox.baseVal.width : 1;
  return parseFloat(getComputedStyle(one).fontSize) * scale < 8.5;
}).map(one => one.tagName + ': ' + one.textContent.slice(0, 40))
"""
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    many = [f"a class with quite a long name {number}" for number in range(14)]
    made = {
        "run": write_report(classified(folder / "run", text=WIDE, rows=300, steps=400)),
        "many": write_report(classified(folder / "many", labels=many, rows=300, right=0.6), language="ko"),
        "comparison": write_report(compared(folder / "compared")),
        "search": write_report(searched(folder / "searched")),
    }
    return {name: one.path for name, one in made.items()}


@pytest.mark.parametrize("name", ["run", "many", "comparison", "search"])
@pytest.mark.parametrize("width", [360, 820, 1440])
@pytest.mark.parametrize("dark", [False, True])
def test_nothing_overflows_and_nothing_is_complained_of(
    browser: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    browser.problems.clear()
    browser.open(pages[name], width, dark=dark)
    across, room = browser.value(OVERFLOW)
    assert across <= room == width
    assert browser.value(TINY) == []
    assert browser.problems == []
    assert (browser.value(GROUND) == "rgb(255, 255, 255)") is not dark


def test_the_theme_can_be_turned(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], 820)
    browser.value("document.getElementById('theme').click()")
    assert browser.value(GROUND) != "rgb(255, 255, 255)"
    browser.value("document.getElementById('theme').click()")
    assert browser.value(GROUND) == "rgb(255, 255, 255)"


def test_on_paper_it_is_light_and_whole(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], 820, dark=True, media="print")
    assert browser.value(GROUND) == "rgb(255, 255, 255)"
    assert browser.value("getComputedStyle(document.getElementById('theme')).display") == "none"
