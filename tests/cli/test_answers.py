"""``whet predict`` and ``whet evaluate`` on a finished run: on the screen, as JSON, and in files."""

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Whet
from tests.conftest import write_csv

ROWS: list[list[object]] = [["1", 'a "good", film', "good"], ["2", "a bad\nday", "bad"]]


@pytest.fixture
def table(folder: Path) -> Path:
    return write_csv(folder / "new.csv", ["id", "text", "label"], ROWS)


def test_texts_are_answered_on_the_screen(whet: Whet, finished_run: Path) -> None:
    ended = whet("predict", finished_run, "a good film", "a bad day")
    assert ended.code == 0
    lines = [line.split(maxsplit=2) for line in ended.out.splitlines()]
    assert [text.strip() for _, _, text in lines] == ["a good film", "a bad day"]
    assert {label for label, _, _ in lines} <= {"good", "bad"}
    assert all(sure.endswith("%") for _, sure, _ in lines)


@pytest.mark.parametrize("text", ["good " * 200, "a/b\0c", "see reviews.csv for more", "--"])
def test_a_text_that_is_no_path_is_a_text(whet: Whet, finished_run: Path, text: str) -> None:
    ended = whet("predict", finished_run, "--json", "--", text)
    assert ended.code == 0, ended
    assert len(json.loads(ended.out)) == 1


def test_signs_that_command_a_terminal_do_not_reach_it(whet: Whet, finished_run: Path) -> None:
    assert "\x1b" not in whet("predict", finished_run, "a \x1b[31mgood film").out


def test_a_file_is_answered_as_csv_on_standard_output(whet: Whet, finished_run: Path, table: Path) -> None:
    ended = whet("predict", finished_run, table)
    assert ended.code == 0
    header, *rows = csv.reader(io.StringIO(ended.out))
    assert header == ["id", "text", "label", "prediction", "confidence"]
    assert [row[:3] for row in rows] == ROWS
    assert all(row[3] in ("good", "bad") and 0.5 <= float(row[4]) <= 1 for row in rows)


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_file_is_answered_in_a_file(whet: Whet, finished_run: Path, table: Path, folder: Path, verb: str) -> None:
    for name in ("out.csv", "out.tsv", "out.jsonl"):
        assert whet(verb, finished_run, table, "--to", name).code == 0
    lines = (folder / "out.jsonl").read_text().splitlines()
    records = [{key: str(value) for key, value in json.loads(line).items()} for line in lines]
    for name, delimiter in (("out.csv", ","), ("out.tsv", "\t")):
        with (folder / name).open(newline="") as file:
            assert list(csv.DictReader(file, delimiter=delimiter)) == records
    assert [record["text"] for record in records] == [row[1] for row in ROWS]


def test_json_has_every_probability(whet: Whet, finished_run: Path, table: Path) -> None:
    answers = json.loads(whet("predict", finished_run, table, "--json").out)
    assert len(answers) == 2
    for answer in answers:
        assert answer["scores"].keys() == {"good", "bad"}
        assert sum(answer["scores"].values()) == pytest.approx(1)
        assert answer["label"] == max(answer["scores"], key=answer["scores"].get)


def test_a_file_can_be_written_and_printed_at_once(whet: Whet, finished_run: Path, table: Path, folder: Path) -> None:
    ended = whet("predict", finished_run, table, "--json", "--to", "out.jsonl")
    assert len(json.loads(ended.out)) == len((folder / "out.jsonl").read_text().splitlines()) == 2


def test_what_a_cell_cannot_hold_is_written_as_json(whet: Whet, finished_run: Path, folder: Path) -> None:
    (folder / "new.jsonl").write_text('{"text": "good", "tags": ["a", 1], "score": NaN}\n')
    out = whet("predict", finished_run, "new.jsonl").out
    assert next(csv.DictReader(io.StringIO(out)))["tags"] == '["a", 1]'
    assert whet("predict", finished_run, "new.jsonl", "--to", "out.jsonl").code == 0
    written = json.loads((folder / "out.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (written["tags"], written["score"]) == (["a", 1], None)


def test_evaluate_prints_the_scores(whet: Whet, finished_run: Path, reviews: Path) -> None:
    said = whet("evaluate", finished_run, reviews).out
    scores = json.loads(whet("evaluate", finished_run, reviews, "--json").out)
    assert scores.pop("rows") == 60
    assert said.splitlines()[0] == f"60 rows of {reviews}"
    for name, value in scores.items():
        assert f"{name} {value:.4f}" in " ".join(said.split())


def test_an_option_on_the_command_line_wins_over_the_recipe_and_leaves_the_rest(
    whet: Whet, folder: Path, tiny_model: Path, reviews: Path
) -> None:
    lines = [f"data: {reviews}", f"model: {tiny_model}", "method: {name: lora, rank: 3}", "training: {epochs: 1}", ""]
    (folder / "mine.yaml").write_text("\n".join(lines))
    ended = whet("train", "mine.yaml", "--method", "lora", "--set", "training.batch_size=30", "--out", "run", "--quiet")
    assert (ended.code, ended.out) == (0, "")
    resolved = (folder / "run" / "recipe.yaml").read_text()
    for line in ("  rank: 3\n", "  batch_size: 30\n", "  epochs: 1\n"):
        assert line in resolved
    assert whet("train", "run/recipe.yaml", "--out", "again", "--quiet").code == 0
