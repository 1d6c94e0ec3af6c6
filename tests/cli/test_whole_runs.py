"""Whole runs through the command line that once went wrong."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.cli.conftest import Ended, Whet
from tests.conftest import sentences, write_csv

ROWS = sentences(40)


def train(whet: Whet, model: Path, *more: str) -> Ended:
    """A short run of the head alone."""
    return whet(
        "train", *more, "--model", model, "--method", "head", "--set", "training.epochs=1", "--out", "run", "--quiet"
    )


def test_multi_label_runs_to_its_end(whet: Whet, folder: Path, tiny_model: Path) -> None:
    write_csv(folder / "d.csv", ["text", "a", "b"], [[t, i % 2, i % 3 % 2] for i, (t, _) in enumerate(ROWS)])
    ended = train(whet, tiny_model, "d.csv", "--set", "data.label=[a,b]")
    assert ended.code == 0


def test_lone_surrogates_are_refused(whet: Whet, folder: Path, tiny_model: Path) -> None:
    (folder / "d.jsonl").write_text("\n".join(json.dumps({"text": t + "\ud800", "label": name}) for t, name in ROWS))
    ended = train(whet, tiny_model, "d.jsonl")
    assert ended.code == 2


def test_a_run_reads_new_files_in_the_encoding_it_was_trained_with(whet: Whet, folder: Path, tiny_model: Path) -> None:
    text = "글,라벨\n" + "\n".join(f"{t} 좋,{'긍정' if name == 'good' else '부정'}" for t, name in ROWS) + "\n"
    (folder / "d.csv").write_bytes(text.encode("cp949"))
    assert train(whet, tiny_model, "d.csv", "--set", "data.encoding=cp949").code == 0
    assert whet("predict", "run", "d.csv").code == 0


def test_a_share_that_a_folder_makes_idle_is_refused_or_told(whet: Whet, folder: Path, tiny_model: Path) -> None:
    (folder / "f").mkdir()
    write_csv(folder / "f" / "train.csv", ["text", "label"], [list(r) for r in ROWS[:30]])
    write_csv(folder / "f" / "validation.csv", ["text", "label"], [list(r) for r in ROWS[30:]])
    assert train(whet, tiny_model, "f", "--set", "data.validation_share=0.3").code == 2


def test_columns_called_prediction_survive(whet: Whet, folder: Path, tiny_model: Path) -> None:
    write_csv(folder / "d.csv", ["text", "label", "prediction"], [[t, name, "mine"] for t, name in ROWS])
    assert train(whet, tiny_model, "d.csv", "--set", "data.label=label").code == 0
    assert "mine" in str(pq.read_table(folder / "run" / "predictions.parquet").to_pydict())


def test_the_way_out_of_predict_is_one_that_predict_has(whet: Whet, folder: Path, finished_run: Path) -> None:
    (folder / "a.csv").write_text("n,text\n1,a film\n2,\n")
    assert "--set" not in whet("predict", finished_run, "a.csv").err


def test_rows_that_lose_their_end_are_told_even_if_the_limit_was_given(
    whet: Whet, folder: Path, tiny_model: Path
) -> None:
    write_csv(folder / "d.csv", ["text", "label"], [list(r) for r in ROWS])
    ended = whet(
        "train",
        "d.csv",
        "--model",
        tiny_model,
        "--method",
        "head",
        "--set",
        "training.epochs=1",
        "--out",
        "run",
        "--task",
        "text_classification",
        "--set",
        "task.max_length=5",
    )
    assert "lose their end" in ended.out


def test_python_keywords_keep_the_options_of_a_recipe(folder: Path, tiny_model: Path, reviews: Path) -> None:
    import whet as package

    run = package.train(
        {"data": str(reviews), "method": {"name": "lora", "rank": 3}, "training": {"epochs": 1}},
        model=str(tiny_model),
        method="lora",
        out="run",
        quiet=True,
    )
    assert "rank: 3" in (run.folder / "recipe.yaml").read_text()
