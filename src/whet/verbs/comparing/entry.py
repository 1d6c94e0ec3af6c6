"""Who takes part in a comparison, with their runs, and for how long each trains."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from whet.build import Prepared, prepare
from whet.engine.arithmetic import Arithmetic
from whet.engine.device import let_go
from whet.errors import InputError, ModelError, RecipeError, WhetError
from whet.evaluate.halving import LEAST, SHARES, rounds, rungs
from whet.intake import Shared, own_sides
from whet.model.locate import EMBEDDED
from whet.planning.advise import advise
from whet.report.writing import duration
from whet.run.comparison import CANDIDATES, Attempt, Candidate, Comparison, State
from whet.run.folder import RunFolder
from whet.verbs.comparing import candidates
from whet.verbs.comparing.candidates import Asked, Entrant
from whet.verbs.comparing.contender import measured
from whet.verbs.comparing.pace import pace
from whet.verbs.comparing.turns import Ended, Key

ENDING = 0.15
"""Share of a time budget that is kept for measuring the finalists and for the baselines."""


@dataclass
class Player:
    """A candidate with its runs."""

    entrant: Entrant
    attempts: dict[int, Attempt]
    """What is known of its runs, by seed."""
    root: Path
    """The comparison's folder."""
    steps: int
    """That each of its runs takes, if it is not dropped."""
    rungs: list[int]
    """Steps after which it is looked at."""
    trainable: int = 0
    total: int = 0

    @property
    def name(self) -> str:
        """What to call it."""
        return self.entrant.name

    @property
    def alive(self) -> bool:
        """Whether none of its runs was dropped or failed."""
        return all(attempt.state in ("waiting", "running", "finished") for attempt in self.attempts.values())

    @property
    def seconds(self) -> float:
        """What it took so far, all seeds together."""
        return sum(attempt.seconds for attempt in self.attempts.values())

    @property
    def keys(self) -> list[Key]:
        """Of all its runs."""
        return [(self.name, seed) for seed in self.attempts]

    @property
    def stored_bytes(self) -> int:
        """What its model takes in files, once it is there."""
        folder = RunFolder(self.root / next(iter(self.attempts.values())).folder).model
        return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

    def take(self, ended: Ended) -> None:
        """Note what came of a run's turn."""
        self.attempts[ended.attempt.seed] = ended.attempt
        self.trainable, self.total = ended.trainable or self.trainable, ended.total or self.total

    def end(self, state: State, reason: str) -> None:
        """Let those of its runs that have not ended yet end like this."""
        for seed, attempt in self.attempts.items():
            if attempt.state in ("waiting", "running"):
                self.attempts[seed] = replace(attempt, state=state, reason=reason)

    @property
    def known(self) -> Candidate:
        """As the comparison's folder has it."""
        return Candidate(
            name=self.name,
            method=self.entrant.method,
            model=self.entrant.model or EMBEDDED,
            settings=self.entrant.settings,
            attempts=list(self.attempts.values()),
            trainable=self.trainable,
            total=self.total,
            stored_bytes=self.stored_bytes,
        )


@dataclass(frozen=True)
class Field:
    """All who take part, and what they have in common."""

    players: list[Player]
    survey: Prepared
    """The first of them that could be prepared; its model is spent."""
    rows: dict[str, int]
    side: Literal["test", "validation"]
    """Where finalists are measured."""
    budget: str
    """In words."""
    advised: str
    """The method that is advised; where it does not take part the second choice, which may not either."""
    split_off: bool
    """Whether sides are split off the training rows."""


def enter(folder: Path, asked: Asked, before: Comparison | None, shared: Shared) -> Field:
    """Read the data and decide how long everybody trains; ``before`` is what was known at an interruption.

    Raises an InputError where the data, or all of the models, cannot be used.
    """
    entered = candidates.entrants(asked)
    splits, *_, decided = shared.intake(entered[0].recipe(0, split_off=False))
    split_off = own_sides(splits, decided) != set(splits)
    survey = _look(entered, shared)
    settings = survey.settings
    a_pass = -(-len(survey.examples["train"]) // settings.batch_size)
    common, seconds = settings.steps or settings.epochs * a_pass, 0.0
    steps = {one.name: common for one in entered}
    words = f"{common:,} steps each"
    if asked.budget.seconds is not None:
        words = f"{duration(asked.budget.seconds)} in all, the same time each"
        seconds, steps = _known_steps(before, asked) or _shared_out(entered, asked, shared)
    players = []
    for one in entered:
        every, at = rungs(steps[one.name], settings.evaluate_every)
        one.train(steps[one.name] if seconds else None, every, a_pass)
        attempts = _attempts(one, before) or [
            Attempt(seed, f"{CANDIDATES}/{one.name}/seed-{seed}", steps=steps[one.name]) for seed in range(asked.seeds)
        ]
        players.append(Player(one, {attempt.seed: attempt for attempt in attempts}, folder, steps[one.name], at))
        _recall(players[-1], before)
    looked = min(len(player.rungs) for player in players)
    for player in players:
        # Fast ones take more steps in the same time: everybody is looked at after the same share of them.
        player.rungs = player.rungs[len(player.rungs) - looked :]
    side = measured(splits)
    advice, methods = advise(survey.facts), {one.method for one in entered}
    advised = advice.first.method if advice.first.method in methods else advice.second.method
    rows = {name: len(rows) for name, rows in splits.items()}
    return Field(players, survey, rows, side, words, advised, split_off)


def _look(entered: Sequence[Entrant], shared: Shared) -> Prepared:
    """The first candidate that can be prepared."""
    refused: InputError | None = None
    for one in entered:
        try:
            # No step is taken, so nothing is measured.
            prepared = prepare(one.recipe(0, split_off=False), Arithmetic(), shared)
        except (ModelError, RecipeError) as error:
            refused = refused or error
            continue
        let_go(prepared.model)
        return prepared
    assert refused is not None
    raise refused


def _shared_out(entered: Sequence[Entrant], asked: Asked, shared: Shared) -> tuple[float, dict[str, int]]:
    """Seconds that a whole run may take, so that all rounds together take what was given, and how many steps fit.

    Those that cannot be tried get as many as the slowest, and fail later.
    """
    assert asked.budget.seconds is not None
    started, paces = time.perf_counter(), {}
    for one in entered:
        try:
            paces[one.name] = pace(prepare(one.recipe(0, split_off=False), None, shared), round(1 / SHARES[0]))
        except (WhetError, RuntimeError):
            continue
    left = (1 - ENDING) * asked.budget.seconds - (time.perf_counter() - started)
    seconds, fewest, steps = 0.0, 0, {}
    # The fewer steps there are, the fewer rungs they have, and the fewer are dropped early.
    for first in range(len(SHARES) + 1):
        at = [] if asked.exhaustive else [round(1000 * share) for share in SHARES[first:]]
        whole = sum(taking * part for taking, part in rounds(len(entered), 1000, at)) / 1000
        seconds = left / (whole * asked.seeds)
        steps = {name: tried.steps(seconds) for name, tried in paces.items()}
        fewest = min(steps.values(), default=0)
        if not at or fewest * SHARES[first] >= LEAST:
            break
    if fewest < 1 / SHARES[0]:
        slowest = next((name for name, many in steps.items() if many == fewest), entered[0].name)
        raise RecipeError(
            f"--budget: leaves {duration(seconds)} for each run, in which '{slowest}' takes {fewest} steps; give more "
            "time, or compare fewer"
        )
    return seconds, {one.name: steps.get(one.name, fewest) for one in entered}


def _attempts(one: Entrant, before: Comparison | None) -> list[Attempt]:
    return next((known.attempts for known in (before.candidates if before else []) if known.name == one.name), [])


def _known_steps(before: Comparison | None, asked: Asked) -> tuple[float, dict[str, int]] | None:
    """What was decided before an interruption."""
    if before is None or asked.budget.seconds is None:
        return None
    return asked.budget.seconds, {known.name: known.attempts[0].steps for known in before.candidates}


def _recall(player: Player, before: Comparison | None) -> None:
    for known in before.candidates if before else []:
        if known.name == player.name:
            player.trainable, player.total = known.trainable, known.total
