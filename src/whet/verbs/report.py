"""One page about a run, several runs, a comparison or a search for settings.

Reads folders alone: no model is loaded, and no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from whet import __version__
from whet.errors import RunFolderError, SaveError
from whet.report import page
from whet.report.comparison_page import ComparisonPage, comparison_page, of_folder
from whet.report.contents import evaluations, open_run
from whet.report.run_page import RunPage, run_page
from whet.report.search_page import SearchPage, search_page
from whet.report.several import beside
from whet.report.words import Words
from whet.run import tuning as searches
from whet.run.comparison import COMPARISON
from whet.run.folder import REPORT


@dataclass(frozen=True)
class Report:
    """A page that was written."""

    path: Path
    content: RunPage | ComparisonPage | SearchPage

    @property
    def verdict(self) -> str:
        """Its headline."""
        return self.content.said.headline

    @property
    def sentences(self) -> list[str]:
        """What stands below it."""
        return self.content.said.sentences


def write_report(
    sources: str | Path | Sequence[str | Path], *, out: str | Path | None = None, language: str = "en"
) -> Report:
    """Write one self-contained HTML page about a run, several runs, or the folder of a comparison or of a search.

    ``out`` is the file; without it ``report.html`` in the folder that is told about (``tune.html`` in that of a
    search), or in the current one for several runs. A report there is written anew, any other file is refused.

    Raises RunFolderError for what is no finished run, no comparison and no search, and where ``out`` is taken;
    RecipeError for a language that there is no report in; SaveError where the disk refuses.
    """
    listed = [Path(sources)] if isinstance(sources, str | Path) else [Path(source) for source in sources]
    t = Words(language)
    target = Path(out) if out is not None else _target(listed)
    refuse_target(target)
    shown = content(listed, t)
    _write(_rendered(shown, t), target)
    return Report(target, shown)


def content(sources: Sequence[Path], t: Words) -> RunPage | ComparisonPage | SearchPage:
    """What there is to tell; raises RunFolderError for what is no finished run, no comparison and no search."""
    if not sources:
        raise RunFolderError("name a run folder, several of them, or the folder of a comparison or of a search")
    for source in sources:
        kind = _kind(source)
        if kind and len(sources) > 1:
            raise RunFolderError(f"{source} is a {kind}; report it by itself, or name its runs")
    if _kind(sources[0]) == "comparison":
        return of_folder(sources[0], t)
    if _kind(sources[0]) == "search":
        return search_page(searches.read(sources[0]), t)
    if len(sources) == 1:
        return run_page(open_run(sources[0]), t)
    comparison, runs = beside([open_run(source) for source in sources])
    return comparison_page(comparison, runs, {name: evaluations(run.path) for name, run in runs.items()}, t)


def refuse_target(target: Path) -> None:
    """Raise RunFolderError where something else than a report of ours is in the way."""
    if target.is_dir():
        raise RunFolderError(f"{target} is a folder; name a file, such as {target / REPORT}")
    if target.is_file():
        with target.open("rb") as file:
            if page.GENERATOR.encode() not in file.read(1000):
                raise RunFolderError(f"{target} exists and is no report of whet; choose another file with --out")


def _rendered(shown: RunPage | ComparisonPage | SearchPage, t: Words) -> str:
    if isinstance(shown, RunPage):
        return page.of_run(shown, t, __version__)
    if isinstance(shown, SearchPage):
        return page.of_search(shown, t, __version__)
    return page.of_comparison(shown, t, __version__)


def _kind(folder: Path) -> Literal["comparison", "search"] | None:
    """What a folder is of, where that is more than one run."""
    if (folder / COMPARISON).is_file():
        return "comparison"
    return "search" if (folder / searches.TUNE).is_file() else None


def _target(sources: Sequence[Path]) -> Path:
    if len(sources) > 1:
        return Path(REPORT)
    return sources[0] / (searches.PAGE if _kind(sources[0]) == "search" else REPORT)


def _write(text: str, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A lone surrogate, which JSON allows, is no text that a page could hold.
        temporary.write_bytes(text.encode("utf-8", errors="replace"))
        temporary.replace(target)
    except OSError as error:
        raise SaveError(f"{target} could not be written: {error.strerror}; choose another file with --out") from None
