"""From values to one self-contained HTML page: no network, no library, nothing of the reader's data read as markup.

Templates escape all that they are given. What gets through all the same is kept from doing anything by the page's
own Content-Security-Policy: it loads nothing from anywhere and runs one script, which is told by its digest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from whet.report.comparison_page import ComparisonPage
from whet.report.naming import metric_name
from whet.report.run_page import RunPage
from whet.report.search_page import SearchPage
from whet.report.words import Words
from whet.report.writing import plain, valued

GENERATOR = '<meta name="generator" content="whet'
"""By this a page is known to be one of ours, which may be written anew."""

_FOLDER = Path(__file__).parent / "templates"


def of_run(page: RunPage, t: Words, version: str) -> str:
    """The page about one run."""
    title = f"{page.run.name}"
    over = _over([page.run.task], [page.run.method], t)
    return _rendered("run.html", {"page": page, "title": title, "over": over}, t, version)


def of_comparison(page: ComparisonPage, t: Words, version: str) -> str:
    """The page about a comparison, or about several runs."""
    comparison = page.comparison
    tasks = [page.best.run.task] if page.best else []
    methods = list(dict.fromkeys(candidate.method for candidate in comparison.candidates))
    values = {
        "page": page,
        "title": Path(comparison.data).name,
        "over": _over(tasks, methods, t),
        "metric": t(metric_name(comparison.metric)),
    }
    return _rendered("comparison.html", values, t, version)


def of_search(page: SearchPage, t: Words, version: str) -> str:
    """The page about a search for settings."""
    tuning = page.tuning
    values = {
        "page": page,
        "title": Path(tuning.data).name,
        "over": f"{t('search for settings')} · {tuning.method}",
        "metric": t(metric_name(tuning.metric)),
    }
    return _rendered("search.html", values, t, version)


def _over(tasks: Sequence[str], methods: Sequence[str], t: Words) -> str:
    """What stands above the title: what was done, and how."""
    return f"{' · '.join(t(task.replace('_', ' ')) for task in tasks)} · {', '.join(methods)}"


def _rendered(template: str, values: Mapping[str, object], t: Words, version: str) -> str:
    style, script = _asset("style.css"), _asset("theme.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shared = {"t": t, "version": version, "style": style, "script": script, "script_digest": digest}
    return _environment().get_template(template).render({**shared, **values})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(percent=_percent, valued=valued)
    return environment


@cache
def _asset(name: str) -> Markup:
    return Markup((_FOLDER / name).read_text(encoding="utf-8").strip())  # noqa: S704  # a file of ours


def _shown(value: object) -> object:
    """Texts without control characters, which a page must not hold."""
    return plain(value.replace("\r\n", "\n")) if isinstance(value, str) and not isinstance(value, Markup) else value


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
