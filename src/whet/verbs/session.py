"""One run from its first step to its folder: what ``train`` and ``resume`` share."""

import itertools
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from whet import recipe as recipes
from whet.build import Prepared, answers, prepare
from whet.checks.runner import suspicious
from whet.core import Answer, Choice, Finding, Kept, Medium, Rows, Scores
from whet.data.augment.draws import draws
from whet.data.media import content_of, path_of, shown
from whet.engine.arithmetic import Arithmetic
from whet.engine.device import join, let_go, peak_memory
from whet.engine.job import StopRequest
from whet.engine.loop import fit
from whet.engine.predict import predict, scores_of
from whet.engine.state import Checkpoint, newest
from whet.engine.track import Trackers, refuse_absent
from whet.errors import RecipeError, RunFolderError
from whet.events import Averaged, Evaluated, Events, Finished, Mixed, Step, Stopped, Stored, Storing
from whet.intake import Shared
from whet.model.log_mel import FRONTEND
from whet.model.save import save
from whet.protocols import Generating, Quantising, ReadingFiles
from whet.recipe import HUB, Recipe
from whet.report.terminal import Results
from whet.run import folder as run_folder
from whet.run.card import card
from whet.run.folder import RunFolder
from whet.run.predictions import write_predictions
from whet.verbs.baselines import baselines
from whet.verbs.foreseeing.foresee import Clock, Forecast, foresee
from whet.verbs.reloading import check_reload

BYTES_PER_NUMBER = 4
SHOWN = 3
"""Texts that the model wrote and the terminal shows; all of them are in the run folder."""
EXAMPLES: dict[Medium, str] = {"picture": "picture.png", "sound": "sound.wav"}
"""What to ask about where the training rows are no files."""


class Session:
    """A run that is ready to start or to go on."""

    def __init__(self, folder: RunFolder, prepared: Prepared, checkpoint: Checkpoint | None, seconds: float) -> None:
        self.folder = folder
        self.prepared = prepared
        self.checkpoint = checkpoint
        self.stop = StopRequest()
        self.interrupted: str | None = None
        self.said: Kept = None
        """What the finished model says about the rows that it was measured on."""
        self._seconds = seconds
        self._finished: Finished | None = None
        self._trackers = Trackers(prepared.values["training"].get("track") or (), folder.path, prepared.values)
        self.forecast: Forecast | None = None
        """What the run will need; None until somebody wants to know."""
        self._clock = Clock(None)

    @classmethod
    def start(cls, recipe: Recipe, out: Path | None, shared: Shared | None = None) -> "Session":
        """A new run; its folder holds the resolved recipe when this returns.

        What it reads is taken from ``shared`` where another run has read it.
        """
        refuse_absent(recipe.training.track)
        processes = join()
        if out is not None:
            processes.on_main(lambda: RunFolder.refuse_existing(out))
        prepared = prepare(recipe, shared=shared)
        _refuse(suspicious(prepared.values))
        parts = prepared.parts
        trainable = parts.count(frozenset().union(*(stage.mask for stage in prepared.stages)))
        # Three checkpoints, as two stay while the next is written, each of weights, best weights and two moments.
        needed = BYTES_PER_NUMBER * (3 * 4 * trainable + parts.count(frozenset(parts.parameters)))
        path = processes.on_main(lambda: _create(out, needed, prepared))
        return cls(RunFolder(path), prepared, None, 0.0)

    @classmethod
    def resume(cls, path: Path, shared: Shared | None = None) -> tuple["Session", list[str]]:
        """An unfinished run and remarks about it; raises RunFolderError where it has finished or its data changed."""
        processes = join()
        folder, recipe, arithmetic, before = processes.together(lambda: _unfinished(path))
        prepared = prepare(recipe, arithmetic, shared)
        checkpoint, remarks = processes.together(lambda: _take_up(folder, prepared))
        step = checkpoint.progress.step if checkpoint else 0
        if len(set(processes.gather(step))) > 1:
            raise RunFolderError(f"{path}: not all processes read the same checkpoints; give them one file system")
        remarks.append(f"going on from the checkpoint of step {step}" if step else "no checkpoint yet: from the start")
        if before != processes.count:
            remarks.append(
                f"begun in {before} processes, going on in {processes.count}: the rows of each step are the same, sums "
                "are rounded and dropout is drawn in another way"
            )
        processes.on_main(folder.hold)
        processes.on_main(lambda: folder.rewind(step))
        return cls(folder, prepared, checkpoint, folder.seconds()), remarks

    def foresee(self) -> None:
        """Predict what the run will need, which takes a moment, to tell it before and beside what it took."""
        if join().is_main:
            self.forecast = foresee(self.prepared)
            self._clock = Clock(self.forecast)

    @property
    def choices(self) -> list[Choice]:
        """Every value of the recipe with its origin and reason, and what the run will need."""
        return [*self.prepared.choices, *(self.forecast.choices() if self.forecast else [])]

    @property
    def findings(self) -> list[Finding]:
        """What looks wrong, and does not keep the run from beginning."""
        return suspicious(self.prepared.values)

    @property
    def metric(self) -> str:
        """The metric that picks the best weights."""
        return self.prepared.settings.metric

    @property
    def illustration(self) -> list[tuple[str, bool]]:
        """The first training row as the model reads it, in pieces that are learned and others; none for classes."""
        prepared = self.prepared
        if not isinstance(prepared.task, Generating):
            return []
        return prepared.task.illustrate(prepared.examples["train"], prepared.loaded.processor)

    @property
    def changes(self) -> str:
        """How the training rows are changed at random, shown on a few of them; empty where they are not."""
        prepared = self.prepared
        if prepared.augmentation is None or not join().is_main:
            return ""
        seeded = partial(draws, prepared.settings.seed)
        return prepared.augmentation.illustrate(prepared.examples["train"], seeded, self.folder.path)

    def events(self, observe: Callable[[int, Kept], None] | None = None) -> Events:
        """Train; every event is in the folder's log before it is yielded.

        ``observe`` is told at each evaluation what the model says about the validation rows.
        """
        checkpoint, self.checkpoint = self.checkpoint, None
        job = replace(self.prepared.job(self.folder.checkpoints, self.stop), observe=observe)
        join().on_main(self.folder.hold)
        try:
            yield from self._logged(fit(job, checkpoint))
        finally:
            self.folder.close_log()
            if self._finished is None:
                self.folder.release()
                self._trackers.close()

    def _logged(self, events: Events) -> Events:
        for event in events:
            if join().is_main and not isinstance(event, Storing):
                self.folder.append(event)
                self._trackers.take(event)
            self._clock.take(event)
            if isinstance(event, Step | Evaluated | Stored | Averaged | Mixed):
                self._seconds += event.seconds
            if isinstance(event, Finished):
                self._finished = event
            if isinstance(event, Stopped) and event.resumable:
                self.interrupted = f"stopped after step {event.step} ({event.reason})"
            yield event

    def finish(self, known: Mapping[str, Scores] | None = None) -> Results:
        """Measure the test rows and the baselines, and write model, metrics, predictions and card.

        ``known`` are the baselines where another run on the same rows has measured them. The main process does so, the
        others wait for it.
        """
        return join().on_main(lambda: self._finish(known))

    def leave(self, scores: Scores, step: int, reason: str) -> None:
        """End after an evaluation before the last step, and keep the weights as they are; no test row is looked at.

        The generator of ``events`` has to be closed.
        """
        save(self.prepared.model, self.prepared.loaded.processor, self.folder.model)
        self._conclude(scores, {}, {}, {"best_step": step, "trained_share": 1.0, "dropped": reason})
        let_go(self.prepared.model)

    def _finish(self, known: Mapping[str, Scores] | None) -> Results:
        assert self._finished is not None
        prepared, splits = self.prepared, self.prepared.splits
        save(prepared.model, prepared.loaded.processor, self.folder.model)
        run_folder.flush(self.folder.model)
        measured = "test" if "test" in splits else "validation"
        # As whoever loads the saved model computes.
        exact = prepared.arithmetic.exact
        with exact.active(prepared.device), exact.attending(prepared.model):
            predictions = predict(prepared.model, prepared.task, prepared.examples[measured], prepared.device)
        rows, answered, compared = self._answers(predictions.values, measured)
        # Nobody asks the trained model any more: the saved one is opened in its place.
        let_go(prepared.model)
        check_reload(prepared, self.folder, predictions.values, measured)
        self.said = predictions.values
        scores = scores_of(predictions, prepared.task, prepared.examples[measured])
        samples = self._samples(rows, answered)
        write_predictions(rows, answered, self.folder.path / run_folder.PREDICTIONS)
        metrics = self._conclude(
            {**self._finished.scores, **(compared if measured == "validation" else {})},
            {**scores, **compared} if measured == "test" else {},
            baselines(prepared, measured) if known is None else known,
            {"best_step": self._finished.best_step, "trained_share": self._finished.share},
        )
        self._trackers.conclude(measured, metrics[measured], self._finished.step)
        return self._results(metrics, samples)

    def _conclude(
        self, validation: Scores, test: Scores, known: Mapping[str, Scores], more: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Write the metrics and the card; the model is in its folder."""
        prepared, parts = self.prepared, self.prepared.parts
        self._clock.learn(prepared.arithmetic)
        metrics = {
            "validation": validation,
            "test": test,
            "baselines": dict(known),
            **more,
            "seconds": round(self._seconds, 2),
            "peak_memory_bytes": peak_memory(prepared.device),
            **self._predicted(),
            "trainable_parameters": parts.count(frozenset().union(*(stage.mask for stage in prepared.stages))),
            "total_parameters": parts.count(frozenset(parts.parameters)),
        }
        text = card(
            prepared.values,
            metrics,
            _data(prepared),
            adapter=prepared.method.keeps_base,
            quantised=isinstance(prepared.method, Quantising),
            patches=(self.folder.model / FRONTEND).is_file(),
        )
        self.folder.write_text(run_folder.CARD, text)
        self.folder.write(run_folder.METRICS, metrics)
        self.folder.release()
        # The weights are in the model folder now.
        shutil.rmtree(self.folder.checkpoints, ignore_errors=True)
        return metrics

    def _predicted(self) -> dict[str, Any]:
        """What was expected of the run, before it began and after its first steps."""
        if self.forecast is None:
            return {}
        refined = None if self._clock.refined is None else round(self._clock.refined, 2)
        return {"predicted": {**self.forecast.plain(), "seconds_after_first_steps": refined}}

    def _answers(self, values: Kept, measured: str) -> tuple[Rows, list[Answer], Scores]:
        """Answers, the rows that they are for, and how texts that were written compare with those of the rows."""
        prepared, task = self.prepared, self.prepared.task
        rows, examples = prepared.splits[measured], prepared.examples[measured]
        if not isinstance(task, Generating):
            return rows, answers(task, values, examples, rows, prepared.columns), {}
        few = rows.take(range(min(task.samples, len(rows))))
        asked = task.openings(few, prepared.columns)
        written = task.write(prepared.model, prepared.loaded.processor, asked, prepared.columns) if len(few) else []
        return asked, written, task.compare(written, few, prepared.columns)

    def _samples(self, rows: Rows, answers: list[Answer]) -> list[tuple[str, str]]:
        """The first prompts, and what was written for them; none where answers are no texts."""
        if not isinstance(self.prepared.task, Generating):
            return []
        prompts = rows.columns[self.prepared.columns.text[0]][:SHOWN]
        if isinstance(self.prepared.task, ReadingFiles):
            prompts = [shown(prompt) for prompt in prompts]
        return [(_spoken(prompt), str(answer.label)) for prompt, answer in zip(prompts, answers, strict=False)]

    def _example(self) -> str:
        """A training row as one would ask about it."""
        rows = self.prepared.splits["train"]
        cell = rows.columns[self.prepared.columns.text[0]][0]
        if isinstance(self.prepared.task, ReadingFiles):
            held = content_of(cell)
            return str(path_of(rows, held)) if isinstance(held, str) else EXAMPLES[self.prepared.task.medium]
        return _spoken(cell)[:60].partition("\n")[0].replace('"', "'")

    def _results(self, metrics: dict[str, Any], samples: list[tuple[str, str]]) -> Results:
        path = self.folder.path
        return Results(
            validation=metrics["validation"],
            test=metrics["test"],
            baselines=metrics["baselines"],
            metric=self.metric,
            trainable=metrics["trainable_parameters"],
            total=metrics["total_parameters"],
            seconds=metrics["seconds"],
            peak_memory_bytes=metrics["peak_memory_bytes"],
            predicted=metrics.get("predicted"),
            folder=path,
            next_commands=[f'whet predict {path} "{self._example()}"', f"whet evaluate {path} more.csv"],
            test_rows=len(self.prepared.splits.get("test", ())),
            more_is_better=self.prepared.task.metrics[self.metric],
            samples=samples,
        )


def _arithmetic(folder: RunFolder) -> Arithmetic:
    """What the run began to compute in, which another machine, or a new measurement, would choose otherwise."""
    try:
        return TypeAdapter(Arithmetic).validate_python(folder.read(run_folder.ENVIRONMENT)["arithmetic"])
    except (KeyError, ValidationError):
        raise RunFolderError(
            f"{folder.path / run_folder.ENVIRONMENT} does not say which arithmetic the run began with; "
            "begin anew with 'whet train'"
        ) from None


def _refuse(findings: list[Finding]) -> None:
    """Raise RecipeError where one of the findings is an error."""
    told = [f"{one.id}: {one.what} ({one.evidence}); {one.fix}" for one in findings if one.severity == "error"]
    if told:
        raise RecipeError(*told)


def _create(out: Path | None, needed: int, prepared: Prepared) -> Path:
    """A run folder that says what will be done."""
    folder = RunFolder.create(out or free_name(prepared.values), needed)
    environment = {**run_folder.environment(), "arithmetic": asdict(prepared.arithmetic), "processes": join().count}
    folder.write(run_folder.ENVIRONMENT, environment)
    folder.write(run_folder.DATA, _data(prepared))
    found = [asdict(finding) for finding in suspicious(prepared.values)]
    folder.write(run_folder.FINDINGS, {"findings": found})
    # Last: a folder with a recipe is one that can be resumed.
    folder.write_text(run_folder.RECIPE, recipes.dump(prepared.values, prepared.choices))
    return folder.path


def _unfinished(path: Path) -> tuple[RunFolder, Recipe, Arithmetic, int]:
    """A run that can go on, with its recipe, and the arithmetic and the number of processes it began with."""
    folder = RunFolder.open(path)
    if folder.finished:
        raise RunFolderError(f"{path} has finished; its model is in {folder.model}. For a new run use 'whet train'")
    count = folder.read(run_folder.ENVIRONMENT).get("processes", 1)
    return folder, recipes.parse(folder.recipe()), _arithmetic(folder), count


def _take_up(folder: RunFolder, prepared: Prepared) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint, and what is wrong with newer ones."""
    before, now = folder.read(run_folder.DATA), _data(prepared)
    changed = [name for name, split in now["splits"].items() if split != before["splits"].get(name)]
    if changed:
        raise RunFolderError(
            f"{folder.path}: the {' and '.join(changed)} rows are not those the run began with; "
            "bring the old files back, or begin anew with 'whet train'"
        )
    return newest(folder.checkpoints)


def free_name(values: dict[str, Any], ending: str = "") -> Path:
    """A folder below ``runs/`` that is not there yet, named by data and method."""
    data = values["data"]["train"].removeprefix(HUB)
    stem = re.sub(r"[^\w.-]+", "-", Path(data).stem)
    base = Path("runs") / f"{stem}-{values['method']['name']}{ending}"
    names = (base if i == 1 else base.with_name(f"{base.name}-{i}") for i in itertools.count(1))
    return next(name for name in names if not name.exists())


def _data(prepared: Prepared) -> dict[str, Any]:
    columns = prepared.columns
    return {
        "columns": {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(columns).items()},
        "labels": prepared.values["task"].get("labels"),
        "splits": {
            name: {"rows": len(rows), "source": rows.source, "fingerprint": run_folder.fingerprint(rows)}
            for name, rows in prepared.splits.items()
        },
    }


def _spoken(value: object) -> str:
    """A cell as one would type it: of a chat what the user said last, of tokens a sentence."""
    said = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    user = [one for one in said if one.get("role", one.get("from")) in ("user", "human")]
    asked = [str(one.get("content", one.get("value"))) for one in user]
    if isinstance(value, list) and not said:
        return " ".join(map(str, value))
    return asked[-1] if asked else str(value)
