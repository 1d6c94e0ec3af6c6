"""A search for better settings: many short runs, of which the best one is measured on the test rows."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from whet import catalog
from whet import recipe as recipes
from whet.build import Prepared, prepare
from whet.engine.device import join, let_go
from whet.errors import RecipeError, RunFolderError, WhetError
from whet.intake import Shared
from whet.planning.budget import seconds_of
from whet.protocols import Tunable
from whet.report import search as report
from whet.run import tuning as files
from whet.run.tuning import Plan, Trial, Tuning
from whet.verbs.run import Run
from whet.verbs.searching import search_space
from whet.verbs.searching.search import Search
from whet.verbs.searching.search_space import Spaces, Values
from whet.verbs.searching.study import Study, refuse_without_optuna
from whet.verbs.session import free_name

ENDING = "-tune"


@dataclass(frozen=True)
class Wanted:
    """How to search."""

    spaces: Sequence[str] = ()
    """As ``method.rank=4,8,16``; none is the method's usual spaces."""
    trials: int = 20
    jobs: int = 1
    timeout: str | float | None = None
    baseline: bool = True
    language: Literal["en", "ko"] = "en"


class Tuned:
    """A search that has come to its end, opened from its folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.tuning = files.read(self.folder)

    @property
    def run(self) -> Run:
        """The best trial's run."""
        return Run(self.folder / files.BEST)

    @property
    def recipe(self) -> Path:
        """The best trial's recipe."""
        return self.folder / files.BEST_RECIPE

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return self.tuning.trials

    @property
    def best(self) -> Trial:
        """The best one."""
        return next(trial for trial in self.tuning.trials if trial.number == self.tuning.best)


def tune(  # noqa: PLR0913  # a keyword for each section of a recipe
    source: str | Path | Mapping[str, Any],
    *,
    model: str | None = None,
    task: str | Mapping[str, Any] | None = None,
    method: str | Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    spaces: Sequence[str] | Mapping[str, str] = (),
    trials: int = 20,
    jobs: int = 1,
    timeout: str | float | None = None,
    baseline: bool = True,
    out: str | Path | None = None,
    quiet: bool = False,
) -> Tuned:
    """Search for the settings with which a method does best on the validation rows, and return the search.

    ``source``, ``model``, ``task``, ``method`` and ``training`` are those of ``train``; trial 0 is this very recipe.
    ``spaces`` says what is searched, as ``{"method.rank": "4,8,16", "training.learning_rate": "1e-5..1e-3"}``; without
    it the usual settings of the method are. ``jobs`` trials run beside each other; ``timeout``, seconds or "20m", ends
    the search early. The test rows are measured once, for the best trial, and with ``baseline`` for trial 0.

    Raises RecipeError, DataError, ModelError or RunFolderError before anything is trained, RunError where no trial came
    to its end, InterruptedRunError where Ctrl-C stopped it.
    """
    raw = recipes.plain(source)
    keywords = {"model": model, "task": task, "method": method}
    raw |= {k: value for k, value in keywords.items() if value is not None and value != recipes.name_of(raw.get(k))}
    for key, value in (training or {}).items():
        recipes.put(raw, ["training", key], value)
    named = [f"{path}={text}" for path, text in spaces.items()] if isinstance(spaces, Mapping) else list(spaces)
    wanted = Wanted(named, trials, jobs, timeout, baseline)
    return run(raw, wanted, Path(out) if out else None, Console(quiet=quiet))


def run(raw: Mapping[str, Any], wanted: Wanted, out: Path | None, console: Console, command: str = "") -> Tuned:
    """Search around a recipe of plain values, and show what happens on the console."""
    refuse_without_optuna()
    written = search_space.split(wanted.spaces)
    limit = _limit(wanted.timeout)
    _refuse(wanted)
    recipes.parse(raw)
    # What can be said before seconds are spent on the model.
    search_space.check(raw, search_space.read({path: t for path, t in written.items() if t and "*" not in t}))
    if out is not None:
        files.refuse_existing(out)
    shared = Shared()
    with console.status("reading data and model"):
        prepared = prepare(recipes.parse(raw), shared=shared)
        let_go(prepared.model)
    texts = _spaces(prepared, raw, written)
    anchored = _anchored(raw, prepared.values)
    plan = Plan(
        anchored, texts, wanted.trials, limit, wanted.jobs, prepared.settings.seed, wanted.baseline, wanted.language
    )
    spaces = search_space.read(texts)
    search_space.check(anchored, spaces)
    folder = out or free_name(prepared.values, ENDING)
    tuning = Tuning(
        plan=plan,
        data=str(prepared.values["data"]["train"]),
        method=prepared.values["method"]["name"],
        metric=prepared.settings.metric,
        more_is_better=prepared.task.metrics[prepared.settings.metric],
        rows={side: len(rows) for side, rows in prepared.splits.items()},
        command=command,
    )
    _make(folder)
    begin = search_space.begin(spaces, prepared.values)
    study = _study(folder, tuning, spaces, begin)
    files.write(folder, tuning)
    report.begin(console, tuning, _moved(begin, prepared.values))
    return _shown(folder, Search(folder, tuning, study, console, shared).run(), console)


def resume(
    folder: str | Path, *, trials: int | None = None, timeout: str | float | None = None, quiet: bool = False
) -> Tuned:
    """Go on with a search that was stopped, or let one that has finished try more ``trials`` in all.

    Raises RunFolderError where there is no search, or nothing to go on with.
    """
    return run_on(Path(folder), Console(quiet=quiet), trials=trials, timeout=timeout)


def run_on(folder: Path, console: Console, *, trials: int | None = None, timeout: str | float | None = None) -> Tuned:
    """Go on with a search, and show what happens on the console."""
    refuse_without_optuna()
    tuning = files.read(folder)
    plan, limit = tuning.plan, _limit(timeout)
    plan = replace(
        plan,
        trials=plan.trials if trials is None else trials,
        timeout=None if limit is None else tuning.seconds + limit,
    )
    if tuning.tested and len(tuning.trials) >= plan.trials:
        raise RunFolderError(
            f"{folder} has finished with {len(tuning.trials)} trials; its best run is {folder / files.BEST}. For more, "
            f"say how many in all: whet tune --resume {folder} --trials {2 * len(tuning.trials)}"
        )
    if not (folder / files.STUDY).is_file():
        raise RunFolderError(f"{folder} has lost its {files.STUDY}, without which no search goes on; begin a new one")
    if (folder / files.BEST).is_dir():
        # Another one may become the best.
        (folder / files.BEST).rename(folder / files.TRIALS / str(tuning.best))
    tuning = replace(tuning, plan=plan)
    files.write(folder, tuning)
    study = _study(folder, tuning, search_space.read(plan.spaces), {})
    return _shown(folder, Search(folder, tuning, study, console, Shared()).run(), console)


def _limit(timeout: str | float | None) -> float | None:
    """Seconds from a number of them, or from a text such as 90s, 20m or 1h30m; raises RecipeError."""
    if timeout is None:
        return None
    try:
        seconds = float(timeout)
    except ValueError:
        return seconds_of(str(timeout), "timeout")
    if not 0 < seconds < math.inf:
        raise RecipeError(f"timeout: '{timeout}' is no time; write it as 90s, 20m or 1h30m")
    return seconds


def _shown(folder: Path, tuning: Tuning, console: Console) -> Tuned:
    report.results(console, tuning, folder)
    return Tuned(folder)


# --- before ---------------------------------------------------------------------------------------------------


def _refuse(wanted: Wanted) -> None:
    problems = [
        f"{name}: {value} is too few; 1 is the least"
        for name, value in (("trials", wanted.trials), ("jobs", wanted.jobs))
        if value < 1
    ]
    if join().count > 1:
        problems.append("a search is run by one process, which starts others with --jobs; start it without torchrun")
    if problems:
        raise RecipeError(*problems)


def _spaces(prepared: Prepared, raw: Mapping[str, Any], written: Mapping[str, str]) -> dict[str, str]:
    """What is searched: what was named, with the usual values where none were; else all that is usual."""
    method = prepared.method
    declared = _possible(prepared, method.searched) if isinstance(method, Tunable) else {}
    usual = search_space.usual(prepared.values, declared, given=recipes.given(recipes.parse(raw)))
    if not written:
        return usual
    return {path: text or search_space.usual_of(path, prepared.values, usual) for path, text in written.items()}


def _possible(prepared: Prepared, declared: Mapping[str, str]) -> dict[str, str]:
    """The usual values of a method's options, without those that this model is too small for."""
    name, own = prepared.values["method"]["name"], catalog.settings(prepared.method)
    found = {}
    for option, text in declared.items():
        space = search_space.read({f"method.{option}": text})[f"method.{option}"] if "*" not in text else None
        if not isinstance(space, Values):
            found[option] = text
            continue
        words = [
            word
            for word, value in zip(text.split(","), space.values, strict=True)
            if _works(prepared, name, {**own, option: value})
        ]
        if len(words) > 1:
            found[option] = ",".join(words)
    return found


def _works(prepared: Prepared, name: str, options: Mapping[str, object]) -> bool:
    try:
        catalog.build("method", name, options).stages(prepared.parts)
    except WhetError:
        return False
    return True


def _anchored(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe that means the same from any folder, and computes in one precision."""
    made = copy.deepcopy(dict(raw))
    for side in ("train", "validation", "test"):
        if side in values["data"]:
            recipes.put(made, ["data", side], values["data"][side])
    made["model"] = values["model"]
    if recipes.name_of(made.get("method")) is None:
        made["method"] = values["method"]["name"]
    if words := values.get("augment", {}).get("word_list"):
        recipes.put(made, ["augment", "word_list"], words)
    recipes.put(made, ["training", "precision"], values["training"]["precision"])
    return made


def _moved(begin: Mapping[str, object], values: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    """What the recipe says, and what trial 0 has instead, where a space does not hold it."""
    said = {path: search_space.value_at(values, path) for path in begin}
    return {path: (said[path], begin[path]) for path in begin if said[path] != begin[path]}


def _make(folder: Path) -> None:
    files.refuse_existing(folder)
    try:
        (folder / files.TRIALS).mkdir(parents=True)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be made: {error.strerror}; choose another with --out") from None


def _study(folder: Path, tuning: Tuning, spaces: Spaces, begin: Mapping[str, Any]) -> Study:
    plan = tuning.plan
    return Study(
        folder / files.STUDY,
        spaces,
        more_is_better=tuning.more_is_better,
        seed=plan.seed,
        jobs=plan.jobs,
        begin=begin,
    )
