"""The course of a comparison: who trains next, who is dropped, what is written down."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from whet.core import Finding, Scores
from whet.engine.job import StopRequest
from whet.errors import InterruptedRunError, RunError, WhetError
from whet.evaluate.compare import Sample
from whet.evaluate.halving import decide, in_doubt
from whet.events import Event
from whet.intake import Shared
from whet.report.writing import score
from whet.run import comparison as folder_of
from whet.run.comparison import Comparison, Verdict
from whet.run.folder import FINDINGS, RunFolder
from whet.verbs.baselines import baselines, probe
from whet.verbs.comparing.candidates import Asked
from whet.verbs.comparing.contender import Contender
from whet.verbs.comparing.entry import Player, enter
from whet.verbs.comparing.judging import Finalist, gaps, judge, read_sample, write_sample

SAMPLES = "samples"
"""Folder of what runs scored at rungs and at the end, on rows drawn anew."""

FAILURES = (WhetError, MemoryError, RuntimeError)
"""What ends a candidate and not the comparison: torch tells of memory that is used up by a RuntimeError."""


class Watcher(Protocol):
    """Shows a comparison while it runs."""

    def round(self, turns: Sequence[tuple[str, int]], number: int, of: int) -> None:
        """Round ``number`` begins: these runs take so many steps each."""
        ...

    def turn(self, name: str, steps: int) -> None:
        """It is the turn of this run, which will take so many steps now."""
        ...

    def event(self, event: Event) -> None:
        """Something happens in it."""
        ...

    def told(self, line: str, *, bad: bool = False) -> None:
        """There is something to say."""
        ...


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
        self._field = enter(folder, asked, before, Shared(), self.stop)
        self._metric = self._field.survey.settings.metric
        self._more_is_better = self._field.survey.task.metrics[self._metric]

    def run(self) -> Comparison:
        """Lead all candidates to their ends, and judge.

        Raises RunError where no candidate came to the end, and InterruptedRunError where it was stopped.
        """
        self._write()
        looked = 0 if self._asked.exhaustive else len(self._field.players[0].rungs)
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
        waiting = [
            (player, seed, player.rungs[number])
            for player in self._alive
            for seed in player.runs
            if not self._path(player, seed, number).exists()
        ]
        self._announce(waiting, number + 1, of)
        for player, seed, rung in waiting:
            if player.alive and self._turn(player, seed, rung):
                run = player.runs[seed]
                sample = run.sample()
                write_sample(self._path(player, seed, number), sample)
                place = f"after step {rung:,} of {player.steps:,}"
                self._watcher.told(f"{self._called(player, seed)}: {self._metric} {score(sample.score)} {place}")
                run.wait()
                self._write()

    def _turn(self, player: Player, seed: int, rung: int | None) -> bool:
        """Let one run train; False where it failed. Raises InterruptedRunError where the user stopped it."""
        run = player.runs[seed]
        self._watcher.turn(self._called(player, seed), (rung or player.steps) - run.attempt.step)
        run.attempt = replace(run.attempt, state="running")
        try:
            came = self.stop.reason is None and run.advance(rung, self._watcher.event)
        except FAILURES as error:
            self._fail(player, run, error)
            return False
        if not came:
            self._pause()
        if run.session is not None and not player.total:
            player.count(run.session.prepared)
        return True

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
                for run in player.runs.values():
                    run.leave(run.attempt.reason)
                player.stored_bytes = next(iter(player.runs.values())).stored_bytes
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
        waiting: list[tuple[Player, int, int | None]] = [
            (player, seed, None)
            for player in self._alive
            for seed, run in player.runs.items()
            if run.attempt.state != "finished"
        ]
        self._announce(waiting, of, of)
        for player, seed, _ in waiting:
            if player.alive and self._turn(player, seed, None):
                self._finish(player, seed)

    def _finish(self, player: Player, seed: int) -> None:
        run = player.runs[seed]
        try:
            sample = run.finish(self._of_baselines())
        except FAILURES as error:
            self._fail(player, run, error)
            return
        write_sample(self._path(player, seed, None), sample)
        run.attempt = replace(run.attempt, state="finished")
        player.stored_bytes = run.stored_bytes
        run.forget()
        side = f"on the {self._field.side} rows"
        self._watcher.told(f"{self._called(player, seed)}: {self._metric} {score(sample.score)} {side}")
        self._write()

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
            Finalist(player.name, dict(zip(player.runs, self._samples(player, None), strict=True)), player.seconds)
            for player in self._alive
        ]
        if not finalists:
            reasons = {f"{p.name}: {run.attempt.reason}" for p in self._field.players for run in p.runs.values()}
            raise RunError("no candidate came to the end", *sorted(reasons))
        verdict = judge(finalists, self._baselines, self._metric, self._more_is_better)
        self._verdict = replace(verdict, findings=self._findings())
        return self._write()

    def _findings(self) -> list[Finding]:
        """What checks noticed in the recipe of each candidate."""
        found = []
        for player in self._field.players:
            folder = RunFolder(self.folder / next(iter(player.runs.values())).attempt.folder)
            told = folder.read(FINDINGS)["findings"] if (folder.path / FINDINGS).is_file() else []
            found += [Finding(**{**one, "what": f"{player.name}: {one['what']}"}) for one in told]
        return found

    # --- what is written down

    def _announce(self, turns: Sequence[tuple[Player, int, int | None]], number: int, of: int) -> None:
        steps = [(p.name, (rung or p.steps) - p.runs[seed].attempt.step) for p, seed, rung in turns]
        self._watcher.round(steps, number, of)

    def _samples(self, player: Player, number: int | None) -> list[Sample]:
        found = [read_sample(self._path(player, seed, number)) for seed in player.runs]
        return [one for one in found if one is not None]

    def _path(self, player: Player, seed: int, number: int | None) -> Path:
        when = "end" if number is None else f"rung-{number}"
        return self.folder / SAMPLES / f"{player.name}-seed-{seed}-{when}.npz"

    def _called(self, player: Player, seed: int) -> str:
        return player.name if self._asked.seeds == 1 else f"{player.name}, seed {seed}"

    def _fail(self, player: Player, run: Contender, error: BaseException) -> None:
        problems = error.problems if isinstance(error, WhetError) else ()
        reason = problems[0] if problems else f"{type(error).__name__}: {error}"
        run.attempt = replace(run.attempt, state="failed", reason=reason.partition("\n")[0])
        player.end("dropped", "a run of it with another seed failed")
        for other in player.runs.values():
            other.forget()
        self._watcher.told(f"{player.name} failed: {run.attempt.reason}", bad=True)
        self._write()

    def _pause(self) -> None:
        """Leave everything as it can be gone on with; raises InterruptedRunError."""
        reason = self.stop.reason or "stopped"
        for player in self._alive:
            for seed, run in player.runs.items():
                try:
                    run.store(reason)
                except WhetError as error:
                    self._watcher.told(f"{self._called(player, seed)}: {error}", bad=True)
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
        )
        folder_of.write(self.folder, comparison)
        return comparison
