"""Which rows, columns and task a recipe means, and on which side each row stands; and how training rows are changed."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from whet import catalog
from whet.core import Choice, Columns, Examples, Loaded, Rows
from whet.data import columns as columns_of
from whet.data.kinds import task_of
from whet.data.marked import by_column
from whet.data.source import read_splits
from whet.data.split import split, without_leaks
from whet.errors import RecipeError
from whet.protocols import Augmentation, Augmenting, Generating, Marking, ReadingFiles, Task
from whet.recipe import Recipe


def intake(recipe: Recipe) -> tuple[dict[str, Rows], Columns, str, Task, list[Choice]]:
    """Rows by side, their columns, the task with its name, and what was decided; raises DataError or RecipeError."""
    data = recipe.data
    splits, decided = read_splits(
        data.train,
        data.validation,
        data.test,
        encoding=data.encoding,
        delimiter=data.delimiter,
        tagged=recipe.task is not None and recipe.task.name == "token_classification",
    )
    taken = [*(listed(data.text) or ()), *(listed(data.label) or ()), data.group]
    splits, marked = by_column(splits, data.split, [name for name in taken if name is not None])
    decided += marked
    name, task, why = _task(recipe, splits["train"])
    columns, found = task.find_columns(
        splits["train"], text=listed(data.text), label=listed(data.label), group=data.group
    )
    decided += [*found, Choice("task.name", name, "inferred", why)]
    idle = [side for side in splits if f"{side}_share" in data.model_fields_set and vars(data)[side] is None]
    if idle:
        apart = f", by column '{marked[0].value}' (data.split=random draws all sides)" if marked else ""
        raise RecipeError(
            *(f"data.{side}_share: the data has its own {side} rows{apart}; leave the share out" for side in idle)
        )
    for side, rows in splits.items():
        if side != "train":
            columns_of.check(rows, columns)
        splits[side], dropped = task.usable(rows, columns, drop=data.incomplete == "drop")
        if dropped:
            lacking = f"a {task.medium} that can be read" if isinstance(task, ReadingFiles) else "a text"
            reason = f"{dropped} rows of {rows.source} without {lacking} or a label were dropped"
            decided.append(Choice(f"data.{side}", len(splits[side]), "inferred", reason))
    shares = {"validation": data.validation_share, "test": data.test_share}
    shares = {side: share for side, share in shares.items() if side not in splits and share > 0}
    if data.split_seed is not None and not shares:
        raise RecipeError("data.split_seed: the data has its own sides, so nothing is split off; leave it out")
    task, about_task = task.fit_to(splits["train"], columns, to_split=bool(shares))
    splits, leaks = without_leaks(splits, columns)
    if shares:
        whole = splits["train"]
        # Texts to be written have no classes to spread evenly, and marked ones have many in every row.
        even = replace(columns, label=()) if isinstance(task, Generating | Marking) else columns
        validation, test = shares.get("validation", 0.0), shares.get("test", 0.0)
        seed = recipe.seed if data.split_seed is None else data.split_seed
        splits |= split(whole, even, validation=validation, test=test, seed=seed)
        decided += [
            Choice(f"data.{side}_share", share, "inferred", f"no {side} file: {len(splits[side])} of {len(whole)} rows")
            for side, share in shares.items()
        ]
    return splits, columns, name, task, decided + about_task + leaks


def _task(recipe: Recipe, rows: Rows) -> tuple[str, Task, str]:
    """The task with its name, and why it is this one."""
    options: dict[str, object] = {} if recipe.task is None else recipe.task.options
    if recipe.task is not None and recipe.task.name is not None:
        return recipe.task.name, catalog.build("task", recipe.task.name, options), ""
    name, why = task_of(rows, listed(recipe.data.label))
    try:
        return name, catalog.build("task", name, options), why
    except RecipeError as error:
        way_out = f"task '{name}' is what the rows are for, since {why}; for another one set task.name"
        raise RecipeError(*error.problems, way_out) from None


def own_sides(splits: Mapping[str, Rows], decided: list[Choice]) -> set[str]:
    """Sides that the data came with; the others were split off."""
    split_off = {choice.path for choice in decided}
    return {side for side in splits if f"data.{side}_share" not in split_off}


def split_column(decided: list[Choice]) -> str | None:
    """The column by which the rows stand on their sides."""
    return next((str(choice.value) for choice in decided if choice.path == "data.split"), None)


def measured_rows(recipe: Recipe) -> Rows:
    """The rows that a run of this recipe is measured on at its end."""
    splits = intake(recipe)[0]
    return splits["test"] if "test" in splits else splits["validation"]


def listed(names: str | list[str] | None) -> list[str] | None:
    return [names] if isinstance(names, str) else names


def augmentation(
    recipe: Recipe, name: str, task: Task, rows: Rows, columns: Columns, loaded: Loaded
) -> Augmentation | None:
    """What changes the training rows at random; None where the recipe leaves them as they are."""
    wanted = wanted_changes(recipe)
    if not wanted:
        return None
    if not isinstance(task, Augmenting):
        raise RecipeError(f"augment: task '{name}' does not change its training rows; leave the section out")
    if idle := [option for option in wanted if option not in task.changes]:
        known = ", ".join(task.changes)
        raise RecipeError(*(f"augment.{option}: is nothing for task '{name}', which knows {known}" for option in idle))
    return task.augmentation(wanted, rows, columns, loaded)


def wanted_changes(recipe: Recipe) -> dict[str, Any]:
    """The random changes that a recipe asks for, with paths that mean the same from any folder."""
    wanted = recipe.augment.model_dump(exclude_defaults=True)
    if "word_list" in wanted:
        wanted["word_list"] = str(Path(wanted["word_list"]).resolve())
    return wanted


Intake: TypeAlias = tuple[dict[str, Rows], Columns, str, Task, list[Choice]]


class Shared:
    """What several runs on the same rows read once, for all: the rows, and what a model reads of them."""

    def __init__(self) -> None:
        self._intakes: dict[str, Intake] = {}
        self._examples: dict[str, dict[str, Examples]] = {}

    def intake(self, recipe: Recipe) -> Intake:
        """As ``intake``."""
        data = recipe.data
        seed = recipe.seed if data.split_seed is None else data.split_seed
        key = repr((data.model_copy(update={"split_seed": None}), recipe.task, seed))
        if key not in self._intakes:
            self._intakes[key] = intake(recipe)
        splits, columns, name, task, decided = self._intakes[key]
        return dict(splits), columns, name, task, list(decided)

    def examples(self, task: Task, splits: Mapping[str, Rows], columns: Columns, loaded: Loaded) -> dict[str, Examples]:
        """All sides as this model reads them."""
        # Rows are told apart by the tables that they are: those of one intake are the same objects.
        tables = [id(rows.columns) for rows in splits.values()]
        key = repr((tables, columns, task, loaded.name, loaded.processor))
        if key not in self._examples:
            self._examples[key] = {side: task.encode(rows, columns, loaded.processor) for side, rows in splits.items()}
        return dict(self._examples[key])
