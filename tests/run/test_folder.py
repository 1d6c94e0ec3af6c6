"""The run folder is whole or absent, and never overwritten."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from whet.core import Rows
from whet.errors import RunFolderError
from whet.events import Evaluated, Started, Step
from whet.run.folder import ENVIRONMENT, EVENTS, METRICS, RECIPE, RunFolder, environment, fingerprint


def step(number: int) -> Step:
    return Step(number, number / 10, 1.0, 1e-3, 0.5, 4, 40, 0.25)


def test_an_existing_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(RunFolderError, match="exists and is never overwritten"):
        RunFolder.create(tmp_path / "mine", 0)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_an_unfinished_run_is_offered_for_resuming(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "mine", 0)
    folder.write_text(RECIPE, "seed: 1\n")
    with pytest.raises(RunFolderError, match="whet resume"):
        RunFolder.refuse_existing(tmp_path / "mine")
    folder.write(METRICS, {})
    with pytest.raises(RunFolderError) as error:
        RunFolder.refuse_existing(tmp_path / "mine")
    assert "resume" not in str(error.value)


def held_by_another(folder: Path) -> subprocess.Popen[str]:
    """A process that holds a run until it is killed."""
    program = "import sys, time, pathlib; from whet.run.folder import RunFolder; "
    program += "folder = RunFolder(pathlib.Path(sys.argv[1])); folder.hold(); print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_process_works_on_a_run_and_a_killed_one_is_not_waited_for(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with held_by_another(tmp_path) as process:
        with pytest.raises(RunFolderError, match="another process is working on the run"):
            folder.hold()
        process.kill()
    folder.hold()
    folder.hold()
    with pytest.raises(RunFolderError):
        RunFolder(tmp_path).hold()
    folder.release()
    RunFolder(tmp_path).hold()


def test_no_room_on_the_disk_is_told_before_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"MB free, this run needs 1,000,000,000 MB"):
        RunFolder.create(tmp_path / "mine", 10**15)
    assert not (tmp_path / "mine").exists()


def test_a_folder_inside_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="--out"):
        RunFolder.create(tmp_path / "file" / "mine", 0)


def test_a_folder_without_a_recipe_is_no_run_and_the_run_below_it_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a folder"):
        RunFolder.open(tmp_path / "absent")
    RunFolder.create(tmp_path / "reviews-full", 0).write_text(RECIPE, "seed: 1\n")
    with pytest.raises(RunFolderError, match=r"did you mean .*reviews-full"):
        RunFolder.open(tmp_path)


@pytest.mark.parametrize("content", ["{", "just a text", "[1, 2]"])
def test_a_damaged_recipe_is_told(tmp_path: Path, content: str) -> None:
    folder = RunFolder.create(tmp_path / "mine", 0)
    folder.write_text(RECIPE, content)
    with pytest.raises(RunFolderError, match=r"recipe\.yaml"):
        folder.recipe()


def test_rewinding_drops_later_steps_and_half_a_line(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "mine", 0)
    folder.append(Started(10, 0, 1, 40, 5, 9))
    for number in range(1, 5):
        folder.append(step(number))
    folder.append(Evaluated(2, 0.2, {"accuracy": 0.5}, best=True, seconds=1.0))
    with (tmp_path / "mine" / EVENTS).open("a") as file:
        file.write('{"event": "Step", "st')
    folder.rewind(2)
    assert [(event["event"], event["step"]) for event in folder.events()] == [
        ("Started", 0),
        ("Step", 1),
        ("Step", 2),
        ("Evaluated", 2),
    ]
    assert folder.seconds() == 1.5


def test_the_fingerprint_follows_the_content_alone() -> None:
    rows = Rows({"a": ["x", "y"], "b": [1, 2]}, "one.csv", [2, 3])
    assert fingerprint(rows) == fingerprint(Rows(rows.columns, "two.csv", [7, 9]))
    assert fingerprint(rows) != fingerprint(Rows({"a": ["x", "y"], "b": [1, 3]}, "one.csv", [2, 3]))


def test_the_environment_names_the_versions_that_matter() -> None:
    found = json.loads(json.dumps(environment()))
    assert {"whet", "torch", "transformers", "peft"} <= found["packages"].keys()


def test_what_a_start_that_was_killed_left_is_taken_over(tmp_path: Path) -> None:
    left = RunFolder.create(tmp_path / "mine", 0)
    left.write(ENVIRONMENT, {"python": "3"})
    (left.path / ".recipe.yaml.part").write_text("seed:")
    folder = RunFolder.create(tmp_path / "mine", 0)
    folder.write_text(RECIPE, "seed: 1\n")
    with pytest.raises(RunFolderError, match="never overwritten"):
        RunFolder.create(tmp_path / "mine", 0)


def test_a_folder_with_anything_else_in_it_is_not(tmp_path: Path) -> None:
    left = RunFolder.create(tmp_path / "mine", 0)
    left.write(ENVIRONMENT, {"python": "3"})
    (left.path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="never overwritten"):
        RunFolder.create(tmp_path / "mine", 0)
