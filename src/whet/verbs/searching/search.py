"""The trials of a search, from the first to the one that is measured on the test rows."""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from whet import __version__
from whet.core import Scores
from whet.engine.job import StopRequest
from whet.errors import InterruptedRunError, RunError
from whet.intake import Shared
from whet.report import page
from whet.report.search import SearchProgress
from whet.report.search_page import search_page
from whet.report.words import Words
from whet.run import tuning as files
from whet.run.folder import CHECKPOINTS, RECIPE, RunFolder
from whet.run.tuning import Trial, Tuning
from whet.verbs.run import Run
from whet.verbs.searching import search_space
from whet.verbs.searching.crew import Alone, Crew, Processes
from whet.verbs.searching.study import Study
from whet.verbs.searching.trial import Advanced, Ended, Order, Scored
from whet.verbs.session import Session
from whet.verbs.train import stoppable


class Search:
    """Gives trials to a crew until there are enough, and measures the best."""

    def __init__(self, folder: Path, tuning: Tuning, study: Study, console: Console, shared: Shared) -> None:
        self.folder, self.tuning, self.study, self.console, self.shared = folder, tuning, study, console, shared
        self.plan = tuning.plan
        self.stop = StopRequest()
        self.began = time.monotonic() - tuning.seconds
        self.busy: set[int] = set()
        self.dropping: dict[int, str] = {}
        """Why trials were told to end."""
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        """Trials that a search before this one has begun."""

    def run(self) -> Tuning:
        """Search, then measure; raises InterruptedRunError where a stop was asked for, RunError without any result."""
        for number, chosen in self.study.running():
            if chosen:
                self.waiting.append((number, chosen))
            else:
                self.study.end(number, "failed", score=None, scores={}, seconds=0.0, reason=files.KILLED)
        self._note()
        with stoppable(self.stop):
            crew: Crew = Alone(self.shared) if self.plan.jobs == 1 else Processes(self.plan.jobs, self.folder)
            with closing(crew), SearchProgress(self.console, self.tuning) as progress:
                self._search(crew, progress)
            self._note(importance=True)
            self._go_on()
            if self.tuning.best is None:
                why = dict.fromkeys(trial.reason for trial in self.tuning.trials if trial.reason)
                raise RunError(f"{self.folder}: none of {len(self.tuning.trials)} trials came to its end", *why)
            self._measure(self.tuning.best)
        return self.tuning

    def _go_on(self) -> None:
        """Raise InterruptedRunError where a stop was asked for."""
        if self.stop.reason is not None:
            done = sum(trial.state != "running" for trial in self.tuning.trials)
            raise InterruptedRunError(
                f"stopped after {done} of {self.plan.trials} trials ({self.stop.reason}); everything is saved. Go on "
                f"with: whet tune --resume {self.folder}"
            )

    def _search(self, crew: Crew, progress: SearchProgress) -> None:
        stopped = False
        while True:
            while crew.idle and self.stop.reason is None and (order := self._next()) is not None:
                crew.give(order)
                progress.began(order.number)
                self.busy.add(order.number)
                self._note()
            if not self.busy:
                return
            if self.stop.reason is not None and not stopped:
                crew.stop(self.stop.reason)
                stopped = True
            if self._late():
                for number in self.busy - self.dropping.keys():
                    self.dropping[number] = files.LATE
                    crew.drop(number)
            match crew.hear():
                case Advanced() as told:
                    progress.advanced(told.number, told.step / told.steps)
                case Scored() as told:
                    score = told.scores[self.tuning.metric]
                    worse = self.study.report(told.number, told.step / told.steps, score)
                    # What the recipe began with is what all others are compared with.
                    if worse and told.number not in {0, *self.dropping} and told.step < told.steps:
                        self.dropping[told.number] = files.WORSE
                        crew.drop(told.number)
                case Ended() as told:
                    self.busy.remove(told.number)
                    self._end(told)
                    progress.ended(self.tuning, told.number)

    def _next(self) -> Order | None:
        """What to run next; None where there is enough."""
        if self.waiting:
            return self._order(*self.waiting.pop(0))
        while not self._late() and len(known := self.study.trials()) < self.plan.trials:
            number, chosen = self.study.ask()
            same = next((one.number for one in known if one.settings == chosen), None)
            if same is None:
                return self._order(number, chosen)
            reason = f"the settings of trial {same} once more"
            self.study.end(number, "pruned", score=None, scores={}, seconds=0.0, reason=reason)
            self._note()
        return None

    def _order(self, number: int, chosen: Mapping[str, Any]) -> Order:
        made = search_space.recipe_with(self.plan.recipe, chosen)
        return Order(number, self.folder / files.TRIALS / str(number), made)

    def _late(self) -> bool:
        """Whether the time is used up, and something has been found in it."""
        if self.plan.timeout is None or time.monotonic() - self.began < self.plan.timeout:
            return False
        return any(trial.state == "finished" for trial in self.tuning.trials)

    def _end(self, told: Ended) -> None:
        """Take note of a trial's end; one that was interrupted stays as it is."""
        if told.how != "interrupted":
            reason = self.dropping.pop(told.number, "") if told.how == "dropped" else told.reason
            state: files.State = "pruned" if told.how == "dropped" else told.how
            score = told.scores.get(self.tuning.metric)
            self.study.end(told.number, state, score=score, scores=told.scores, seconds=told.seconds, reason=reason)
        self._note()

    def _note(self, *, importance: bool = False) -> None:
        """Write down how the search stands, and drop the checkpoints that nobody needs any more."""
        trials = self.study.trials()
        self.tuning = replace(
            self.tuning,
            trials=trials,
            best=_best(trials, more_is_better=self.tuning.more_is_better),
            seconds=round(time.monotonic() - self.began, 1),
            importance=self.study.importance() if importance else {},
        )
        if self.tuning.best is not None:
            self._write_recipe(self.tuning.best)
        kept = {self.tuning.best, 0 if self.plan.baseline else self.tuning.best}
        for trial in trials:
            if trial.state != "running" and trial.number not in kept:
                shutil.rmtree(self.folder / files.TRIALS / str(trial.number) / CHECKPOINTS, ignore_errors=True)
        self._write()

    def _write_recipe(self, best: int) -> None:
        recipe = (self.folder / files.TRIALS / str(best) / RECIPE).read_text(encoding="utf-8")
        told = f"# Trial {best}, the best of {len(self.tuning.trials)} that 'whet tune' has tried.\n"
        (self.folder / files.BEST_RECIPE).write_text(told + recipe, encoding="utf-8")

    def _write(self) -> None:
        files.write(self.folder, self.tuning)
        t = Words(self.plan.language)
        shown = page.of_search(search_page(self.tuning, t), t, __version__)
        (self.folder / files.PAGE).write_text(shown, encoding="utf-8", errors="replace")

    def _measure(self, best: int) -> None:
        """Measure the best trial on the test rows, and the one that the search began with."""
        (self.folder / files.TRIALS / str(best)).rename(self.folder / files.BEST)
        with self.console.status("measuring the test rows for the best trial"):
            tested = {best: self._test(self.folder / files.BEST)}
        first = next(trial for trial in self.tuning.trials if trial.number == 0)
        if self.plan.baseline and best != 0 and first.state == "finished":
            with self.console.status("measuring the test rows for trial 0"):
                tested[0] = self._test(self.folder / files.TRIALS / "0")
        self.tuning = replace(self.tuning, tested={**self.tuning.tested, **tested})
        self._write()

    def _test(self, path: Path) -> Scores:
        """Scores of a trial on the test rows; empty where there are none."""
        self._go_on()
        if not RunFolder.open(path).finished:
            # From its last checkpoint, so there is nothing left to train.
            session, _ = Session.resume(path, self.shared)
            session.stop = self.stop
            with closing(session.events()) as events:
                for _ in events:
                    pass
            self._go_on()
            session.finish()
        return Run(path).test


def _best(trials: Sequence[Trial], *, more_is_better: bool) -> int | None:
    """Number of the best finished trial; of equal ones the first, so that what one began with wins a tie."""
    scored = [(trial.score, trial.number) for trial in trials if trial.state == "finished" and trial.score is not None]
    sign = -1 if more_is_better else 1
    return min(scored, key=lambda one: (sign * one[0], one[1]))[1] if scored else None
