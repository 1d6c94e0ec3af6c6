"""Adapters of several runs become one, which is measured like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whet import recipe as recipes
from whet.build import predictor
from whet.errors import RecipeError, RunFolderError
from whet.intake import measured_rows
from whet.model.files import ADAPTER_CONFIG
from whet.model.several import combine as combine_files
from whet.model.several import refuse_strangers
from whet.run import folder as run_folder
from whet.run.card import card
from whet.run.folder import RunFolder
from whet.verbs.run import Run

SUM = 1e-6
"""How far the weights may be from adding up to 1."""


def combine(runs: Sequence[str | Path], out: str | Path, weights: Sequence[float] | None = None) -> Run:
    """A new run folder with the weighted average of the adapters of other runs, measured on the first one's test rows.

    Equal weights where none are given; they add up to 1. Raises RunFolderError or ModelError where the runs did not
    train adapters of one kind, for one base and one task.
    """
    folders = [RunFolder.open(Path(run)) for run in runs]
    shares = list(weights) if weights else [1 / len(folders)] * len(folders)
    _refuse(folders, shares)
    refuse_strangers([folder.model for folder in folders])
    first = folders[0]
    values, told = first.recipe(), first.read(run_folder.DATA)
    rows = measured_rows(recipes.parse(values))
    made = RunFolder.create(Path(out), 2 * sum(file.stat().st_size for file in first.model.iterdir()))
    combine_files([folder.model for folder in folders], shares, made.model)
    scores = predictor(values, made.model).score(rows)[0]
    before = first.read(run_folder.METRICS)
    metrics = {**before, "validation": {}, "test": scores, "seconds": 0.0, "best_step": 0}
    metrics["combined"] = {str(folder.path): share for folder, share in zip(folders, shares, strict=True)}
    made.write(run_folder.DATA, told)
    made.write(run_folder.ENVIRONMENT, first.read(run_folder.ENVIRONMENT))
    made.write_text(run_folder.RECIPE, (first.path / run_folder.RECIPE).read_text(encoding="utf-8"))
    listed = ", ".join(f"{share:g} of `{folder.path.name}`" for folder, share in zip(folders, shares, strict=True))
    text = card(values, metrics, told, adapter=True)
    made.write_text(
        run_folder.CARD, text.replace("\n## Scores", f"\nThe adapter is a combination: {listed}.\n\n## Scores")
    )
    made.write(run_folder.METRICS, metrics)
    return Run(made.path)


def _refuse(folders: Sequence[RunFolder], shares: Sequence[float]) -> None:
    problems = [
        f"{f.path} holds a whole model and no adapter" for f in folders if not (f.model / ADAPTER_CONFIG).is_file()
    ]
    problems += [f"{f.path} has not finished" for f in folders if not f.finished]
    if len(folders) < 2:
        problems.append("one run alone is nothing to combine; name two")
    if problems:
        raise RunFolderError(*problems)
    if len(shares) != len(folders) or abs(sum(shares) - 1) > SUM:
        raise RecipeError(
            f"weights: {', '.join(f'{share:g}' for share in shares)} do not make 1 for {len(folders)} runs; give one "
            "each, such as 0.7 0.3"
        )
    tasks = [{key: folder.recipe()["task"].get(key) for key in ("name", "labels", "problem")} for folder in folders]
    if any(task != tasks[0] for task in tasks):
        raise RecipeError("the runs answer different questions (task or labels), so an average of them answers none")
