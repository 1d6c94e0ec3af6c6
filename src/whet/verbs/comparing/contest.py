"""The course of a comparison: who trains next, who is dropped, what is written down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import torch

from whet.core import Finding, Scores
from whet.engine.device import free_memory, join
from whet.engine.job import StopRequest
from whet.errors import InterruptedRunError, RunError
from whet.evaluate.compare import Sample
from whet.evaluate.halving import decide, in_doubt
from whet.intake import Shared
from whet.report.writing import score
from whet.run import comparison as folder_of
from whet.run.comparison import Comparison, Verdict
from whet.run.folder import FINDINGS, RunFolder
from whet.verbs.baselines import baselines, probe
from whet.verbs.comparing.candidates import Asked
from whet.verbs.comparing.crew import Alone, Crew, Watcher
from whet.verbs.comparing.entry import Field, Player, enter
from whet.verbs.comparing.judging import Finalist, gaps, judge, read_sample
from whet.verbs.comparing.lanes import Lanes
from whet.verbs.comparing.turns import Ended, Turn

SAMPLES = "samples"
"""Folder of what runs scored at rungs and at the end, on rows drawn anew."""

PAIR = 2
"""Candidates that train beside each other where nobody says how many: more than two were not tried."""
COPIES = 6
"""Sizes of a model that a run takes: weights, gradients, two moments, the best weights, and what it computes."""
LIBRARIES = 10**9
"""Bytes that a process takes with its libraries and the rows."""


class Contest:
    """A comparison that is under way in its folder."""

    def __init__(self, folder: Path, asked: Asked, watcher: Watcher, before: Comparison | None = None) -> None:
        """Read the data; ``before`` is what was known when it was interrupted.

        Raises an InputError where the data, or all of the models, cannot be used.
        """
        self.folder = folder
        self.stop = StopRequest()
        self._since = time.perf_counter()
        self._asked = asked
        self._watcher = watcher
        self._decided = before.rungs_decided if before else 0
        self._baselines: dict[str, Scores] = dict(before.baselines) if before else {}
        self._seconds = before.seconds if before else 0.0
        self._verdict: Verdict | None = None
        shared = Shared()
        self._field = enter(folder, asked, before, shared)
        self._metric = self._field.survey.settings.metric
        self._more_is_better = self._field.survey.task.metrics[self._metric]
        jobs = _jobs(asked, self._field)
        self._crew: Crew = Alone(folder, shared, self.stop) if jobs == 1 else Lanes(jobs, folder, self.stop)

    def run(self) -> Comparison:
        """Lead all candidates to their ends, and judge.

        Raises RunError where no candidate came to the end, and InterruptedRunError where it was stopped.
        """
        self._write()
        looked = 0 if self._asked.exhaustive else len(self._field.players[0].rungs)
        with closing(self._crew):
            for number in range(self._decided, looked):
                if len(self._alive) > 1:
                    self._round(number, looked + 1)
                    self._drop(number)
            self._finals(looked + 1)
        return self._judge()

    @property
    def _alive(self) -> list[Player]:
        return [player for player in self._field.players if player.alive]

    # --- rounds

    def _round(self, number: int, of: int) -> None:
        """Let everybody train up to a rung."""
        turns = [
            self._turn(player, seed, number)
            for player in self._alive
            for seed in player.attempts
            if not self._path(player, seed, number).exists()
        ]
        for player, ended in self._lead(turns, number + 1, of):
            place = f"after step {player.rungs[number]:,} of {player.steps:,}"
            self._say(ended, place)

    def _turn(self, player: Player, seed: int, number: int | None) -> Turn:
        """The turn of a run, to a rung or to the end."""
        return Turn(
            name=player.name,
            called=self._called(player.name, seed),
            recipe=player.entrant.plain(seed, self._field.split_off),
            attempt=player.attempts[seed],
            rung=None if number is None else player.rungs[number],
            sample=self._path(player, seed, number),
            baselines=self._of_baselines() if number is None else None,
        )

    def _lead(self, turns: Sequence[Turn], number: int, of: int) -> Iterator[tuple[Player, Ended]]:
        """Let runs have their turn, and tell who has come to its end.

        Raises InterruptedRunError where the user stopped them.
        """
        players = {player.name: player for player in self._alive}
        steps = [(turn.called, turn.steps) for turn in turns]
        self._watcher.round(steps, number, of, self._crew.at_once)
        wanted: Callable[[Turn], bool] = lambda turn: players[turn.name].alive  # noqa: E731
        for ended in self._crew.lead(turns, wanted, self._watcher):
            player = players[ended.name]
            player.take(ended)
            if ended.failure:
                self._fail(player, ended)
            elif ended.score is not None:
                yield player, ended
            self._write()
        if self.stop.reason is not None:
            self._pause(self.stop.reason)

    def _say(self, ended: Ended, place: str) -> None:
        assert ended.score is not None
        self._watcher.told(f"{self._called(*ended.key)}: {self._metric} {score(ended.score)} {place}")

    def _drop(self, number: int) -> None:
        """Decide who goes on."""
        alive = self._alive
        if len(alive) > 1:
            samples = {player.name: self._samples(player, number) for player in alive}
            behind = gaps(samples, self._metric, self._more_is_better)
            advised = [player.name for player in alive if player.entrant.method == self._field.advised]
            decision = decide(behind, self._affordable(number), advised)
            losers = [player for player in alive if player.name in decision.dropped]
            for player in losers:
                gap = behind[player.name]
                told = (
                    f"{score(gap.behind)} behind {decision.kept[0]} in {gap.measure} on the validation rows after "
                    f"step {player.rungs[number]:,} of {player.steps:,} (standard error {score(gap.error)})"
                )
                player.end("dropped", f"{told}; the time was up" if in_doubt(gap) else told)
            self._decided = number + 1
            # In one piece: whoever goes on from here must not decide once more, among fewer.
            self._write()
            for player in losers:
                self._crew.leave(player.keys, next(iter(player.attempts.values())).reason)
            if losers:
                self._watcher.told(f"dropped: {', '.join(player.name for player in losers)}")
            self._write()

    def _affordable(self, number: int) -> int | None:
        """How many can go on in the time that is left; None where steps are counted."""
        if self._asked.budget.seconds is None:
            return None
        left = self._asked.budget.seconds - self._now()
        alive = self._alive
        # By what those here have taken so far.
        pace = sum(one.seconds for one in alive) / sum(one.rungs[number] / one.steps for one in alive)
        here, there = (([*one.rungs, one.steps][number + k] / one.steps) for one in alive[:1] for k in (0, 1))
        # One goes to the end in any case.
        return 1 + max(0, int((left - (1 - here) * pace) / ((there - here) * pace)))

    def _finals(self, of: int) -> None:
        """Lead those that are left to the end, and measure them."""
        turns = [
            self._turn(player, seed, None)
            for player in self._alive
            for seed, attempt in player.attempts.items()
            if attempt.state != "finished"
        ]
        for _, ended in self._lead(turns, of, of):
            self._say(ended, f"on the {self._field.side} rows")

    def _of_baselines(self) -> dict[str, Scores]:
        """Scores of what needs no fine-tuning, measured once."""
        if not self._baselines:
            survey, side = self._field.survey, self._field.side
            known = baselines(survey, side)
            # A linear model over what the frozen body returns: 'head' is one.
            if "features" not in known and not any(p.entrant.method == "head" for p in self._field.players):
                known |= probe(survey, side)
            self._baselines = known
        return self._baselines

    def _judge(self) -> Comparison:
        finalists = [
            Finalist(player.name, dict(zip(player.attempts, self._samples(player, None), strict=True)), player.seconds)
            for player in self._alive
        ]
        if not finalists:
            reasons = {f"{p.name}: {one.reason}" for p in self._field.players for one in p.attempts.values()}
            raise RunError("no candidate came to the end", *sorted(reasons))
        verdict = judge(finalists, self._baselines, self._metric, self._more_is_better)
        self._verdict = replace(verdict, findings=self._findings())
        return self._write()

    def _findings(self) -> list[Finding]:
        """What checks noticed in the recipe of each candidate."""
        found = []
        for player in self._field.players:
            folder = RunFolder(self.folder / next(iter(player.attempts.values())).folder)
            told = folder.read(FINDINGS)["findings"] if (folder.path / FINDINGS).is_file() else []
            found += [Finding(**{**one, "what": f"{player.name}: {one['what']}"}) for one in told]
        return found

    # --- what is written down

    def _samples(self, player: Player, number: int | None) -> list[Sample]:
        found = [read_sample(self._path(player, seed, number)) for seed in player.attempts]
        return [one for one in found if one is not None]

    def _path(self, player: Player, seed: int, number: int | None) -> Path:
        when = "end" if number is None else f"rung-{number}"
        return self.folder / SAMPLES / f"{player.name}-seed-{seed}-{when}.npz"

    def _called(self, name: str, seed: int) -> str:
        return name if self._asked.seeds == 1 else f"{name}, seed {seed}"

    def _fail(self, player: Player, ended: Ended) -> None:
        player.attempts[ended.attempt.seed] = replace(ended.attempt, state="failed", reason=ended.failure)
        player.end("dropped", "a run of it with another seed failed")
        self._crew.forget(player.keys)
        self._watcher.told(f"{player.name} failed: {ended.failure}", bad=True)

    def _pause(self, reason: str) -> None:
        """Leave everything as it can be gone on with; raises InterruptedRunError."""
        alive = {key for player in self._alive for key in player.keys}
        for (name, seed), told in self._crew.store(alive, reason):
            self._watcher.told(f"{self._called(name, seed)}: {told}", bad=True)
        self._write()
        raise InterruptedRunError(f"{reason}: everything so far is saved. Go on with: whet resume {self.folder}")

    def _now(self) -> float:
        return self._seconds + time.perf_counter() - self._since

    def _write(self) -> Comparison:
        field = self._field
        comparison = Comparison(
            data=str(field.survey.values["data"]["train"]),
            metric=self._metric,
            more_is_better=self._more_is_better,
            budget=field.budget,
            command=self._asked.command,
            rows=field.rows,
            measured=field.side,
            candidates=[player.known for player in field.players],
            baselines=self._baselines,
            seconds=round(self._now(), 2),
            verdict=self._verdict,
            rungs_decided=self._decided,
            jobs=self._crew.at_once,
        )
        folder_of.write(self.folder, comparison)
        return comparison


def _jobs(asked: Asked, field: Field) -> int:
    """How many candidates train beside each other."""
    runs, device = len(field.players) * asked.seeds, field.survey.device
    if join().count > 1:
        return 1
    if asked.jobs is not None:
        return min(asked.jobs, runs)
    # Who trains beside whom would decide what a time is worth.
    if asked.budget.seconds is not None or device.type != "cpu":
        return 1
    jobs = min(PAIR, runs, torch.get_num_threads())
    parts = field.survey.parts
    each = LIBRARIES + 4 * COPIES * parts.count(frozenset(parts.parameters))
    return jobs if jobs * each < free_memory(device) else 1
