"""The one place where names become objects: a recipe becomes a job, a run folder becomes a predictor."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from whet import catalog, resolve
from whet.core import (
    Answer,
    Choice,
    Columns,
    Examples,
    Kept,
    Loaded,
    Medium,
    Parts,
    Processor,
    Quantisation,
    Rows,
    Scores,
    Stage,
)
from whet.data.folder import class_folders
from whet.data.source import read
from whet.data.tokens import limit
from whet.engine.arithmetic import Arithmetic, choose
from whet.engine.cache import cache_folder, cache_limit
from whet.engine.device import choose_device, join, limit_kernel_caches, whole_memory
from whet.engine.job import Job, Settings, StopRequest
from whet.engine.objective import refuse_idle_passes
from whet.engine.predict import predict
from whet.engine.shares import refuse_batch_norms
from whet.errors import DataError, RecipeError
from whet.intake import Shared, augmentation, listed, own_sides, split_column, wanted_changes
from whet.model.dropout import set_dropout
from whet.model.locate import EMBEDDED
from whet.model.parts import parts_of
from whet.model.processors import make_room, start_from_words
from whet.model.surgery import operate
from whet.planning.advise import Facts
from whet.planning.backbones import why_embedded
from whet.planning.choose import choose_method
from whet.planning.facts import facts_of
from whet.protocols import (
    Answering,
    Augmentation,
    Generating,
    Marking,
    Measuring,
    Method,
    Quantising,
    ReadingFiles,
    Sparing,
    Task,
    Telling,
)
from whet.recipe import Recipe
from whet.sections import Surgery

LONG = 0.95
"""Share of the rows that are at most as long as attention is chosen for."""


@dataclass(frozen=True)
class Prepared:
    """A recipe with everything decided, and every object that it names."""

    values: dict[str, Any]
    """The resolved recipe as plain values; it runs again as it is."""
    choices: list[Choice]
    """Where each of these values comes from."""
    splits: dict[str, Rows]
    columns: Columns
    task: Task
    method: Method
    loaded: Loaded
    model: nn.Module
    """The model with the method attached."""
    parts: Parts
    """Parts of that model."""
    stages: list[Stage]
    examples: dict[str, Examples]
    augmentation: Augmentation | None
    settings: Settings
    device: torch.device
    arithmetic: Arithmetic
    facts: Facts
    """What advice goes by."""

    def job(self, checkpoints: Path | None, stop: StopRequest) -> Job:
        """The run that the engine executes."""
        return Job(
            model=self.model,
            parts=self.parts,
            stages=self.stages,
            task=self.task,
            train=self.examples["train"],
            validation=self.examples["validation"],
            settings=self.settings,
            device=self.device,
            augmentation=self.augmentation,
            checkpoints=checkpoints,
            arithmetic=self.arithmetic,
            cache_folder=cache_folder(),
            cache_limit=cache_limit(),
            stop=stop,
            processes=join(),
        )


def prepare(recipe: Recipe, arithmetic: Arithmetic | None = None, shared: Shared | None = None) -> Prepared:
    """Read the data, load the model, attach the method, and decide what the recipe leaves open.

    ``arithmetic`` is that of a run that goes on; for a new one this machine is measured. ``shared`` holds what other
    runs have read. Raises an InputError that names what is wrong with the recipe, the data or the model, before any
    training; where there are several processes all raise the same.
    """
    processes = join()
    opened, decided = processes.together(lambda: _open(recipe, shared or Shared()))
    if arithmetic is None:
        # Rows of like length stand together, so nearly all batches are shorter than this.
        long = int(np.quantile(opened.examples["train"].lengths, LONG))
        arithmetic, why = processes.on_main(
            lambda: choose(recipe.training.precision, opened.device, cache_folder(), long)
        )
        decided.append(Choice("training.precision", arithmetic.precision, "inferred", why))
    values = {**opened.values, "training": {**opened.values["training"], "precision": arithmetic.precision}}
    choices = resolve.explained(recipe, values, decided, values["method"]["name"])
    return replace(opened, values=values, choices=choices, arithmetic=arithmetic)


def _open(recipe: Recipe, shared: Shared) -> tuple[Prepared, list[Choice]]:
    """All but the arithmetic, and what was inferred; there are no choices yet."""
    limit_kernel_caches()
    device = choose_device()
    cache_limit()
    splits, columns, task_name, task, decided = shared.intake(recipe)
    _check_metric(recipe, task)
    torch.manual_seed(recipe.seed)
    asked = _asked(recipe)
    loaded = operate(task.open_model(recipe.model, _quantisation(asked)), recipe.surgery)
    plain = parts_of(loaded.model, loaded.fresh)
    facts = _facts(recipe, task_name, task, splits["train"], columns, plain, device)
    method_name, method, defaults, about_method = choose_method(recipe, asked, facts)
    decided += about_method
    values = _values(recipe, task_name, method_name, method, loaded)
    values["data"] = resolve.data_values(recipe, columns, own_sides(splits, decided), split_column(decided))
    values["training"] = resolve.training_values(recipe, defaults, task.metric)
    if (dropout := values["training"].get("dropout")) is not None:
        set_dropout(loaded.model, dropout)
    model = method.attach(loaded.model, plain)
    start_from_words(method, model, loaded.processor)
    make_room(loaded.processor, model)
    parts = parts_of(model, loaded.fresh)
    task, about_model = task.suited(model)
    decided += about_model
    if isinstance(task, Measuring):
        task, measured = task.measured(splits["train"], columns, loaded)
        decided += measured
    values["training"]["metric"] = recipe.training.metric or task.metric
    examples = shared.examples(task, splits, columns, loaded)
    values["training"] |= resolve.rate(recipe, defaults, values["training"], len(examples["train"]), decided)
    values["task"] |= _set(catalog.settings(task))
    if "max_length" in catalog.settings(task):
        values["task"]["max_length"] = limit(loaded.processor, values["task"].get("max_length"))
    if "max_length" in values["task"]:
        decided += resolve.lengths(examples, values["task"]["max_length"])
    decided += task.told(examples) if isinstance(task, Telling) else []
    if loaded.source == "embedded":
        why = why_embedded(task_name, splits["train"].columns[columns.text[0]])
        decided.append(Choice("model", EMBEDDED, "inferred", why))
    stages = _stages(recipe, method_name, method, task, model, parts)
    prepared = Prepared(
        values=values,
        choices=[],
        splits=splits,
        columns=columns,
        task=task,
        method=method,
        loaded=loaded,
        model=model,
        parts=parts,
        stages=stages,
        examples=examples,
        augmentation=augmentation(recipe, task_name, task, splits["train"], columns, loaded),
        settings=_settings(values["training"], recipe.seed),
        device=device,
        arithmetic=Arithmetic(),
        facts=facts,
    )
    return prepared, decided


def _facts(
    recipe: Recipe, name: str, task: Task, rows: Rows, columns: Columns, plain: Parts, device: torch.device
) -> Facts:
    """What the choice of a method goes by."""
    return facts_of(
        name,
        task,
        rows,
        columns,
        parameters=plain.count(frozenset(plain.parameters)),
        device="cpu" if device.type == "cpu" else "gpu",
        memory=whole_memory(device),
        batch=recipe.training.batch_size,
    )


def _settings(training: Mapping[str, Any], seed: int) -> Settings:
    """What of the training section is the engine's."""
    others = ("dropout", "precision", "track")
    return Settings(**{key: value for key, value in training.items() if key not in others}, seed=seed)


def _stages(recipe: Recipe, name: str, method: Method, task: Task, model: nn.Module, parts: Parts) -> list[Stage]:
    """The stages of the run; raises RecipeError where they cannot do what the recipe says."""
    stages = _spared(name, method.stages(parts), task, parts)
    masks = [stage.mask for stage in stages]
    refuse_batch_norms(model, parts, masks, join())
    refuse_idle_passes(recipe.training.r_drop, task, model, parts, masks)
    return stages


def _values(recipe: Recipe, task: str, name: str, method: Method, loaded: Loaded) -> dict[str, Any]:
    """The sections of a resolved recipe in their order; those of data and training are still to be filled."""
    return {
        "data": {},
        "model": _model_name(loaded),
        "surgery": recipe.surgery.model_dump(exclude_none=True),
        "task": {"name": task},
        "method": {"name": name, **_set(catalog.settings(method))},
        **({"augment": wanted} if (wanted := wanted_changes(recipe)) else {}),
        "training": {},
        "seed": recipe.seed,
    }


@dataclass(frozen=True)
class Predictor:
    """A fine-tuned model that answers."""

    model: nn.Module
    processor: Processor
    task: Task
    columns: Columns
    device: torch.device
    encoding: str | None = None
    delimiter: str | None = None

    @property
    def medium(self) -> Medium | None:
        """What the files hold that the model reads; None where it reads texts."""
        return self.task.medium if isinstance(self.task, ReadingFiles) else None

    def read(self, path: str | Path) -> Rows:
        """The rows of a new file: UTF-8, or else in the encoding of the training data; raises DataError.

        A model that reads files takes folders with one for each class, too: the test part where there is one.
        """
        if self.medium is not None and Path(path).is_dir():
            parts = class_folders(Path(path), None)
            rows = parts.get("test", parts["train"])
            names = (*self.columns.text, *self.columns.label)
            return replace(rows, columns=dict(zip(names, rows.columns.values(), strict=False)))
        delimiter = self.delimiter if Path(path).suffix.lower() == ".csv" else None
        tagged = self.task.problem == "tagging"
        if self.encoding is None:
            return read(path, delimiter=delimiter, tagged=tagged)
        try:
            return read(path, delimiter=delimiter, tagged=tagged)
        except DataError:
            return read(path, encoding=self.encoding, delimiter=delimiter, tagged=tagged)

    def answer(self, rows: Rows) -> list[Answer]:
        """What the model says about rows that have the text columns; labels are not read."""
        if isinstance(self.task, Generating):
            return self.task.write(self.model, self.processor, rows, self.columns)
        columns = Columns(self.columns.text, ())
        examples = self.task.encode(rows, columns, self.processor)
        found = predict(self.model, self.task, examples, self.device)
        return answers(self.task, found.values, examples, rows, columns)

    def score(self, rows: Rows) -> tuple[Scores, list[Answer]]:
        """All metrics on labelled rows, and the answers that they come from."""
        examples = self.task.encode(rows, self.columns, self.processor)
        found = predict(self.model, self.task, examples, self.device)
        scores = self.task.score(found.values, examples) | ({} if found.loss is None else {"loss": found.loss})
        if isinstance(self.task, Generating):
            few = rows.take(range(min(self.task.samples, len(rows))))
            written = self.task.write(self.model, self.processor, self.task.openings(few, self.columns), self.columns)
            return {**scores, **self.task.compare(written, few, self.columns)}, written
        return scores, answers(self.task, found.values, examples, rows, self.columns)


def answers(task: Task, predictions: Kept, examples: Examples, rows: Rows, columns: Columns) -> list[Answer]:
    """What predictions for rows say, in the words of the data."""
    if isinstance(task, Marking):
        return task.mark(predictions, examples, rows, columns)
    assert isinstance(task, Answering)
    return task.answer(predictions)


def predictor(values: Mapping[str, Any], folder: Path) -> Predictor:
    """A predictor from a run's resolved recipe and its saved model; raises ModelError where that cannot be loaded."""
    task, columns = _task_of(values), _columns_of(values)
    saved = task.open_saved(folder)
    data = values["data"]
    limit_kernel_caches()
    device = choose_device()
    model: nn.Module = saved.model
    return Predictor(
        model.to(device).eval(), saved.processor, task, columns, device, data.get("encoding"), data.get("delimiter")
    )


def beside(first: Predictor, values: Mapping[str, Any], folder: Path, name: str) -> Predictor:
    """A predictor with another adapter on the model of the first; ``name`` is what peft calls it."""
    from whet.model.several import add_adapter  # noqa: PLC0415

    processor = add_adapter(first.model, folder, name, first.processor)
    first.model.to(first.device)
    return replace(first, processor=processor, task=_task_of(values), columns=_columns_of(values))


def _task_of(values: Mapping[str, Any]) -> Task:
    """The task of a resolved recipe."""
    options = {key: value for key, value in values["task"].items() if key != "name"}
    task: Task = catalog.build("task", values["task"]["name"], options)
    return task


def _columns_of(values: Mapping[str, Any]) -> Columns:
    """The columns of a resolved recipe."""
    data = values["data"]
    return Columns(tuple(listed(data["text"]) or ()), tuple(listed(data["label"]) or ()))


def _check_metric(recipe: Recipe, task: Task) -> None:
    metric = recipe.training.metric
    if metric is not None and metric not in task.metrics:
        known = ", ".join(task.metrics)
        raise RecipeError(f"training.metric: '{metric}' is not measured for {task.problem}; known are: {known}")


def _spared(method_name: str, stages: list[Stage], task: Task, parts: Parts) -> list[Stage]:
    """The stages without what the task leaves as it was pre-trained."""
    # What was drawn anew has to learn.
    if not isinstance(task, Sparing) or method_name == "scratch":
        return stages
    spared = task.spared(parts)
    left = [replace(stage, mask=stage.mask - spared) for stage in stages]
    if not all(stage.mask for stage in left):
        raise RecipeError(
            f"method '{method_name}' trains nothing but the feature encoder, which stays as it was pre-trained; set "
            "task.feature_encoder to 'trained'"
        )
    return left


def _asked(recipe: Recipe) -> Method | None:
    """The method that the recipe names."""
    if recipe.method is None:
        return None
    method: Method = catalog.build("method", recipe.method.name, recipe.method.options)
    if method.keeps_base and recipe.surgery != Surgery():
        raise RecipeError(
            f"surgery: method '{recipe.method.name}' saves an adapter for the model as everybody has it; leave "
            "surgery out, or choose a method that saves the whole model, such as 'full' or 'last_blocks'"
        )
    idle = [name for name in ("l2_sp", "mixes") if vars(recipe.training)[name]]
    begins_anew = recipe.method.name == "scratch"
    if idle and (method.keeps_base or begins_anew):
        what = "keeps nothing of" if begins_anew else "leaves as they are"
        why = f"method '{recipe.method.name}' {what} the pre-trained weights; leave it out"
        raise RecipeError(*(f"training.{name}: {why}" for name in idle))
    return method


def _quantisation(method: object) -> Quantisation | None:
    """How the base is kept while this method trains; None is whole."""
    return method.quantisation if isinstance(method, Quantising) else None


def _model_name(loaded: Loaded) -> str:
    if loaded.source == "embedded":
        return EMBEDDED
    return str(Path(loaded.name).resolve()) if loaded.source == "folder" else loaded.name


def _set(options: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in options.items() if value is not None}
