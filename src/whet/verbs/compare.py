"""Comparing methods, models and learning rates under one budget, with an honest verdict."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from whet import recipe as recipes
from whet.errors import RecipeError, RunError, RunFolderError, WhetError
from whet.recipe import HUB
from whet.report import leaderboard
from whet.report.race import Race
from whet.run import comparison as folder_of
from whet.run.comparison import COMPARISON, Comparison
from whet.run.lock import LOCK, Lock
from whet.verbs.comparing import candidates
from whet.verbs.comparing.candidates import Asked, budget_of
from whet.verbs.comparing.contest import Contest
from whet.verbs.run import Run
from whet.verbs.train import stoppable


class Compared:
    """A finished comparison, opened from its folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        """Where it is."""
        self.comparison: Comparison = folder_of.read(self.folder)
        """Everything that is known about it."""
        if self.comparison.verdict is None:
            raise RunFolderError(f"{folder} is not finished; go on with: whet resume {folder}")

    def best(self) -> Run:
        """The run with the best score, of the first seed."""
        assert self.comparison.verdict is not None
        return self.run(self.comparison.verdict.best)

    def cheapest(self) -> Run:
        """The fastest run that is as good as the best, but for noise."""
        assert self.comparison.verdict is not None
        return self.run(self.comparison.verdict.cheapest)

    def run(self, name: str) -> Run:
        """The run of a candidate, of the first seed; raises RunError for a name that is none of them."""
        for candidate in self.comparison.candidates:
            if candidate.name == name:
                return Run(self.folder / candidate.attempts[0].folder)
        known = ", ".join(candidate.name for candidate in self.comparison.candidates)
        raise RunError(f"'{name}' is no candidate of {self.folder}; these are: {known}")

    def __repr__(self) -> str:
        assert self.comparison.verdict is not None
        return f"Compared({str(self.folder)!r}: best {self.comparison.verdict.best})"


def compare(  # noqa: PLR0913  # what is compared, and a keyword for each section of a recipe
    source: str | Path | Mapping[str, Any] | None = None,
    *,
    methods: Sequence[str | Mapping[str, Any]] = (),
    models: Sequence[str] = (),
    rates: Sequence[float | None] = (),
    seeds: int = 1,
    budget: str | None = None,
    exhaustive: bool = False,
    jobs: int | None = None,
    task: str | Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    quiet: bool = False,
) -> Compared:
    """Let ways to fine-tune race, and say which is best, and by how much more than noise.

    Every one of ``methods`` runs on every one of ``models`` with every one of ``rates`` and ``seeds`` seeds. Without
    methods the usual ones and ``scratch`` do, each with its own learning rate unless rates are named (None is its
    own). ``budget`` is what each gets, ``"375steps"`` or ``"3epochs"``, or what all get together, ``"20m"``; without it
    each trains for the recipe's epochs, or 3. Whoever falls behind clearly is dropped on the way, unless
    ``exhaustive``. ``jobs`` candidates train beside each other, each with its part of the threads; without it two do
    where a CPU has threads and memory for them and no time is shared out. ``source``, ``task``, ``data``, ``training``
    and ``seed`` are as for ``train``. ``resume`` names, in place of all of these, the folder of a comparison that was
    stopped.

    Raises RecipeError, DataError, ModelError or RunFolderError before anything is trained; RunError where no candidate
    comes to the end; InterruptedRunError where Ctrl-C stopped it.
    """
    if (source is None) == (resume is None):
        raise RecipeError("name either what to compare on, or a folder to resume")
    console = Console(quiet=quiet)
    if source is None:
        return go_on(Path(str(resume)), console)
    raw = recipes.plain(source)
    for key, value in (("task", task), ("seed", seed)):
        if value is not None and value != recipes.name_of(raw.get(key)):
            raw[key] = value
    for section, values in (("data", data), ("training", training)):
        for key, value in (values or {}).items():
            recipes.put(raw, [section, key], value)
    plain = [method if isinstance(method, str) else dict(method) for method in methods]
    asked = ask(raw, plain, list(models), list(rates), seeds, budget, exhaustive, jobs)
    return run(asked, Path(out) if out else None, console)


def ask(
    raw: dict[str, Any],
    methods: Sequence[str | dict[str, Any]],
    models: Sequence[str],
    rates: Sequence[float | None],
    seeds: int,
    budget: str | None,
    exhaustive: bool,
    jobs: int | None = None,
) -> Asked:
    """What is to be compared; raises RecipeError with all that is wrong with it."""
    limit = budget_of(budget)
    whole = {key: _from_here(value) if key == "data" else value for key, value in raw.items()}
    here = [_path(model) for model in models]
    command = _command(whole, methods, here, rates, seeds, budget, exhaustive, jobs)
    asked = Asked(whole, methods, here, rates, seeds, limit, exhaustive, command, jobs)
    candidates.entrants(asked)
    return asked


def run(asked: Asked, out: Path | None, console: Console) -> Compared:
    """Compare, and show what happens on the console."""
    folder = out or _free_name(asked)
    _refuse_existing(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        candidates.write(folder, asked)
    except OSError as error:
        raise RunFolderError(f"{folder} cannot be written: {error.strerror}; choose another with --out") from None
    return _lead(folder, asked, None, console)


def go_on(folder: Path, console: Console) -> Compared:
    """Go on with a comparison that was stopped; raises RunFolderError where it is none, or has finished."""
    asked = candidates.read(folder)
    before = folder_of.read(folder) if (folder / COMPARISON).is_file() else None
    if before is not None and before.verdict is not None:
        raise RunFolderError(f"{folder} has finished; its verdict is in {folder / COMPARISON}")
    return _lead(folder, asked, before, console)


def is_comparison(folder: Path) -> bool:
    """Whether a comparison was begun in this folder."""
    return (folder / candidates.ASKED).is_file()


def _lead(folder: Path, asked: Asked, before: Comparison | None, console: Console) -> Compared:
    with Lock(folder, f"the comparison in {folder}"), Race(console) as race:
        race.told("reading data and model")
        try:
            contest = Contest(folder, asked, race, before)
        except WhetError:
            if before is None:
                _undo(folder)
            raise
        with stoppable(contest.stop):
            contest.run()
    compared = Compared(folder)
    leaderboard.show(console, compared.comparison, folder)
    return compared


def _undo(folder: Path) -> None:
    """Nothing has begun: leave no trace."""
    for name in (candidates.ASKED, LOCK):
        (folder / name).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()


def _refuse_existing(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
        hint = f", or go on with it: whet resume {folder}" if is_comparison(folder) else ""
        raise RunFolderError(f"{folder} exists and is never overwritten; choose another folder with --out{hint}")


def _free_name(asked: Asked) -> Path:
    data = asked.recipe["data"]
    train = str(data["train"] if isinstance(data, dict) else data).removeprefix(HUB)
    stem = re.sub(r"[^\w.-]+", "-", Path(train).stem)
    base = Path("runs") / f"{stem}-compare"
    names = (base if i == 1 else base.with_name(f"{base.name}-{i}") for i in itertools.count(1))
    return next(name for name in names if not name.exists())


def _from_here(data: object) -> object:
    """The data section with paths that mean the same from any folder."""
    if isinstance(data, str):
        data = {"train": data}
    if not isinstance(data, dict):
        return data
    sides = ("train", "validation", "test")
    return {
        key: _path(str(value)) if key in sides and isinstance(value, str | Path) else value
        for key, value in data.items()
    }


def _path(name: str) -> str:
    return str(Path(name).resolve()) if not name.startswith(HUB) and Path(name).exists() else name


def _command(
    raw: Mapping[str, Any],
    methods: Sequence[str | Mapping[str, Any]],
    models: Sequence[str],
    rates: Sequence[float | None],
    seeds: int,
    budget: str | None,
    exhaustive: bool,
    jobs: int | None,
) -> str:
    """What one would type to repeat it."""
    data = raw.get("data")
    words = ["whet", "compare", str(data.get("train") if isinstance(data, Mapping) else data)]
    listed = {
        "--methods": [str(recipes.name_of(method)) for method in methods],
        "--models": models,
        "--rates": ["own" if rate is None else f"{rate:g}" for rate in rates],
        "--seeds": [str(seeds)] if seeds > 1 else [],
        "--budget": [budget] if budget else [],
        "--jobs": [str(jobs)] if jobs is not None else [],
    }
    for option, values in listed.items():
        words += [option, ",".join(values)] if values else []
    words += ["--exhaustive"] if exhaustive else []
    for path, value in _leaves(raw):
        if path != "data.train":
            words += ["--set", f"{path}={'null' if value is None else value}"]
    return shlex.join(words)


def _leaves(raw: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for key, value in raw.items():
        if isinstance(value, Mapping):
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
