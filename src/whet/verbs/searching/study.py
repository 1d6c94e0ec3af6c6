"""The search as Optuna keeps it: which settings to try next, what is not worth going on with, what matters.

Optuna is an extra, so it is imported where it is used. A study lies in a SQLite file that one process writes.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whet.core import Scores
from whet.errors import RecipeError, RunFolderError
from whet.run.tuning import State, Trial
from whet.verbs.searching.search_space import Range, Spaces, Values, settings

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

NAME = "whet"
RANDOM = 5
"""Trials that are drawn at random, and that come to their end, before any is broken off."""
WHOLE = 100
"""Optuna counts the course of a run in whole steps: hundredths of it."""
TELLING = 6
"""Finished trials from which it can be told what matters."""

SCORES, SECONDS, REASON = "scores", "seconds", "reason"


def refuse_without_optuna() -> None:
    """Raise RecipeError where Optuna is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise RecipeError('a search needs optuna, which is not installed; run: pip install "whet[tune]"')


class Study:
    """Trials by number; every change is on the disk when a method returns.

    The sampler is TPE (Bergstra et al. 2011; multivariate, Falkner et al. 2018). It is made anew for each trial from
    the seed and the number of the trial, so a search that was broken off goes on as if it had not been.
    """

    def __init__(
        self, file: Path, spaces: Spaces, *, more_is_better: bool, seed: int, jobs: int, begin: Mapping[str, Any]
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._spaces = spaces
        self._seed = seed
        self._jobs = jobs
        pruner = optuna.pruners.MedianPruner(n_startup_trials=RANDOM)
        try:
            storage = optuna.storages.RDBStorage(f"sqlite:///{file.resolve()}")
            self._study = optuna.create_study(
                storage=storage,
                pruner=pruner,
                study_name=NAME,
                direction="maximize" if more_is_better else "minimize",
                load_if_exists=True,
            )
        except Exception as error:
            # SQLAlchemy and Alembic raise errors of their own for a file that is none of theirs.
            raise RunFolderError(f"{file} cannot be used: {str(error).partition(chr(10))[0]}") from error
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial(dict(begin))
        with _quiet():
            found = self._study.get_trials(deepcopy=False)
            self._open = {
                t.number: optuna.trial.Trial(self._study, t._trial_id) for t in found if _state(t) == "running"
            }

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Number and settings of the next trial, which is running from here on."""
        number = len(self.trials())
        with _quiet():
            self._study.sampler = self._sampler(number)
            trial = self._study.ask()
            drawn = {path: self._draw(trial, path) for path in self._spaces if path in self._searched()}
        self._open[trial.number] = trial
        # The first one is the recipe as it is.
        return trial.number, settings(self._spaces, drawn, exact=trial.number == 0)

    def running(self) -> list[tuple[int, dict[str, Any]]]:
        """Number and settings of the trials that have begun and not ended."""
        return [(trial.number, trial.settings) for trial in self.trials() if trial.state == "running"]

    def report(self, number: int, share: float, score: float) -> bool:
        """Take note of an evaluation; returns whether the trial is worse than the median of the others by now."""
        with _quiet():
            # A trial that was taken up again tells some evaluations twice; Optuna keeps the first.
            self._open[number].report(score, round(WHOLE * share))
            return self._open[number].should_prune()

    def end(
        self, number: int, state: State, *, score: float | None, scores: Scores, seconds: float, reason: str
    ) -> None:
        """Take note of how a trial has ended."""
        from optuna.trial import TrialState

        states = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        trial = self._open.pop(number)
        for key, value in ((SCORES, scores), (SECONDS, round(seconds, 2)), (REASON, reason)):
            trial.set_user_attr(key, value)
        with _quiet():
            self._study.tell(trial, score if state == "finished" else None, state=states[state])

    def trials(self) -> list[Trial]:
        """All trials that have begun, by number."""
        found = [(one, _state(one)) for one in self._study.get_trials(deepcopy=False)]
        return [self._trial(one, state) for one, state in found if state is not None]

    def importance(self) -> dict[str, float]:
        """The share of the differences between finished trials that each setting explains (fANOVA, Hutter et al. 2014).

        Empty where there are few of them, and where all are equally good.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        finished = [trial for trial in self.trials() if trial.state == "finished"]
        varied = {path: len({repr(trial.settings[path]) for trial in finished}) > 1 for path in self._searched()}
        if len(finished) < TELLING or len({trial.score for trial in finished}) < 2 or not any(varied.values()):
            return {}
        with _quiet():
            found = get_param_importances(
                self._study,
                evaluator=FanovaImportanceEvaluator(seed=self._seed),
                params=[path for path, differs in varied.items() if differs],
            )
        return {path: round(float(share), 4) for path, share in found.items()}

    def _searched(self) -> list[str]:
        return [path for path, space in self._spaces.items() if isinstance(space, Range | Values)]

    def _sampler(self, number: int) -> optuna.samplers.TPESampler:
        from optuna.samplers import TPESampler

        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        # What runs beside it counts as bad, so that two processes do not try the same.
        return TPESampler(seed=seed, n_startup_trials=RANDOM, multivariate=True, constant_liar=self._jobs > 1)

    def _draw(self, trial: optuna.trial.Trial, path: str) -> object:
        space = self._spaces[path]
        if isinstance(space, Values):
            return trial.suggest_categorical(path, list(space.values))
        assert isinstance(space, Range)
        if space.whole:
            return trial.suggest_int(path, int(space.low), int(space.high), log=space.log)
        return trial.suggest_float(path, space.low, space.high, log=space.log)

    def _trial(self, found: FrozenTrial, state: State) -> Trial:
        attributes = found.user_attrs
        # A process that was killed while it drew them has left some out.
        whole = {*found.params} == {*self._searched()}
        chosen = settings(self._spaces, found.params, exact=found.number == 0) if whole else {}
        return Trial(
            number=found.number,
            settings=chosen,
            state=state,
            score=found.value if state == "finished" else None,
            scores=attributes.get(SCORES, {}),
            course=[(step / WHOLE, value) for step, value in sorted(found.intermediate_values.items())],
            seconds=attributes.get(SECONDS, 0.0),
            reason=attributes.get(REASON, ""),
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's word that what is used of it may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _state(found: FrozenTrial) -> State | None:
    """How a trial is; None where it has only been thought of."""
    states: dict[str, State] = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running"}
    return states.get(found.state.name)
