"""Which arithmetic a run takes on this machine, and that it keeps it."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import whet
from whet import recipe as recipes
from whet.engine.arithmetic import FP32_ERROR, GAIN, Arithmetic, Measured, choose, measure
from whet.engine.cache import FOLDER
from whet.errors import RecipeError
from whet.events import Step
from whet.verbs.session import Session

CPU = torch.device("cpu")
FILE = "arithmetic.json"
PLAIN = Measured(mkl=1e11, onednn=1e11, onednn_error=1e-7, bf16=1e11, eager_gain={"32": 1.0, "128": 1.0}, threads=1)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is kept of this machine after a real measurement."""
    folder = tmp_path_factory.mktemp("measured")
    choose(None, CPU, folder, 1)
    content: dict[str, Any] = json.loads((folder / FILE).read_text())
    return content


Keep = Callable[..., Path]


@pytest.fixture
def keep(kept: dict[str, Any], tmp_path: Path) -> Keep:
    """Writes another measurement of this machine; returns the folder."""

    def write(**changes: object) -> Path:
        (tmp_path / FILE).write_text(json.dumps({machine: asdict(PLAIN) | changes for machine in kept}))
        return tmp_path

    return write


# --- the choice -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bf16", "wanted", "precision"),
    [
        (5e11, None, "bf16"),
        (5e11, "fp32", "fp32"),
        (5e11, "bf16", "bf16"),
        (1.1e11, None, "fp32"),
        (1.1e11, "bf16", "bf16"),
        (0.9e11, "bf16", "bf16"),
        (0.01e11, None, "fp32"),
        (0.01e11, "fp32", "fp32"),
    ],
)
def test_what_the_user_wants_is_taken_and_else_what_is_fast(
    keep: Keep, bf16: float, wanted: Any, precision: str
) -> None:
    chosen, why = choose(wanted, CPU, keep(bf16=bf16), 1)
    assert chosen.precision == precision
    assert f"{bf16 / 1e11:.1f} times as fast as fp32" in why


def test_bf16_is_refused_where_it_is_much_slower(keep: Keep) -> None:
    with pytest.raises(RecipeError) as error:
        choose("bf16", CPU, keep(bf16=0.02e11), 1)
    (problem,) = error.value.problems
    assert problem.startswith("training.precision: bf16 products are 0.0 times as fast")
    assert "use fp32, or leave it out" in problem


@pytest.mark.parametrize(
    ("onednn", "error", "products"),
    [
        (2e11, FP32_ERROR, "onednn"),
        (2e11, FP32_ERROR * 1.01, "mkl"),
        (2e11, 3e-3, "mkl"),
        (2e11, math.nan, "mkl"),
        (1e11 * GAIN, 1e-7, "mkl"),
        (1.2e11, 1e-7, "onednn"),
    ],
)
def test_onednn_multiplies_fp32_where_it_is_faster_and_as_exact(
    keep: Keep, onednn: float, error: float, products: str
) -> None:
    chosen, _ = choose("fp32", CPU, keep(onednn=onednn, onednn_error=error), 1)
    assert (chosen.precision, chosen.products) == ("fp32", products)


def test_bf16_is_compared_with_the_fastest_fp32(keep: Keep) -> None:
    folder = keep(onednn=4e11, bf16=2e11)
    assert choose(None, CPU, folder, 1)[0].precision == "fp32"
    with pytest.raises(RecipeError, match=r"0\.5 times as fast"):
        choose("bf16", CPU, folder, 1)


def test_the_number_of_threads_is_the_fastest(keep: Keep) -> None:
    assert choose("fp32", CPU, keep(threads=3), 1)[0].threads == 3
    assert choose("bf16", CPU, keep(threads=3), 1)[0].threads == 3


@pytest.mark.parametrize(
    ("length", "attention"), [(1, None), (32, None), (33, "eager"), (128, "eager"), (129, None), (4096, None)]
)
def test_plain_attention_is_taken_where_it_was_measured_to_be_faster(
    keep: Keep, length: int, attention: str | None
) -> None:
    folder = keep(eager_gain={"32": 1.1, "128": 1.3})
    for precision in ("fp32", "bf16"):
        assert choose(precision, CPU, folder, length)[0].attention == attention


def answered(native: bool, *, including_emulation: bool) -> bool:
    """What a GPU says of bf16."""
    return native or including_emulation


def test_other_devices_are_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mps = torch.device("mps")
    assert choose(None, mps, tmp_path, 1)[0] == Arithmetic()
    with pytest.raises(RecipeError, match="not tried on 'mps'"):
        choose("bf16", mps, tmp_path, 1)
    cuda = torch.device("cuda")
    for native, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", partial(answered, native))
        assert choose(None, cuda, tmp_path, 1)[0].precision == precision
        assert choose("fp32", cuda, tmp_path, 1)[0].precision == "fp32"
    with pytest.raises(RecipeError, match="this GPU has no bf16"):
        choose("bf16", cuda, tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


# --- kept per machine -------------------------------------------------------------------------------------------


def test_a_machine_is_measured_once(keep: Keep) -> None:
    folder = keep(bf16=7e11)
    before = (folder / FILE).read_text()
    # No machine is so slow and so fast at once: the number can only come from the file.
    assert "7.0 times as fast as fp32 here (700 GFLOP/s)" in choose(None, CPU, folder, 1)[1]
    assert (folder / FILE).read_text() == before


def test_machines_that_share_a_folder_are_kept_apart(keep: Keep, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = keep(bf16=7e11)
    before = json.loads((folder / FILE).read_text())
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert "700 GFLOP/s" not in choose(None, CPU, folder, 1)[1]
    after = json.loads((folder / FILE).read_text())
    assert len(after) == 2
    assert before.items() <= after.items()
    assert [path.name for path in folder.iterdir()] == [FILE]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff\xfe{", id="no text"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[1]", id="list"),
    ],
)
def test_a_damaged_file_is_written_anew(kept: dict[str, Any], tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    assert choose("fp32", CPU, tmp_path, 1)[0].precision == "fp32"
    assert json.loads((tmp_path / FILE).read_text()).keys() == kept.keys()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"mkl": 1.0}, id="fields are missing"),
        pytest.param(3, id="no object"),
        pytest.param(asdict(PLAIN) | {"mkl": "fast"}, id="no number"),
        pytest.param(asdict(PLAIN) | {"mkl": 0.0}, id="nothing"),
    ],
)
def test_a_measurement_that_makes_no_sense_is_made_anew(kept: dict[str, Any], tmp_path: Path, value: object) -> None:
    (machine,) = kept
    (tmp_path / FILE).write_text(json.dumps({machine: value, "other": 5}))
    choose("fp32", CPU, tmp_path, 1)
    after = json.loads((tmp_path / FILE).read_text())
    assert Measured(**after[machine]).mkl > 0
    assert after["other"] == 5


def test_where_nothing_can_be_kept_the_machine_is_measured_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "taken" / FILE).mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "taken"):
        assert choose("fp32", CPU, folder, 1)[0].precision == "fp32"


# --- measuring and computing ------------------------------------------------------------------------------------


def settings() -> tuple[object, ...]:
    """All of torch's settings that an arithmetic may touch."""
    return (
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
        torch.backends.mkldnn.matmul.fp32_precision,  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision,
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
    )


@pytest.fixture
def restored() -> Iterator[None]:
    """Afterwards torch is as it was."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    yield
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision(precision)


@pytest.mark.usefixtures("restored")
def test_measuring_leaves_torch_as_it_was() -> None:
    torch.set_float32_matmul_precision("medium")
    before = settings()
    found = measure()
    assert settings() == before
    assert all(math.isfinite(speed) and speed > 0 for speed in (found.mkl, found.onednn, found.bf16))
    assert 0 <= found.onednn_error < 0.1
    assert 1 <= found.threads <= torch.get_num_threads()
    assert all(gain > 0 for gain in found.eager_gain.values())


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
@pytest.mark.parametrize(
    "arithmetic", [Arithmetic(), Arithmetic("bf16", threads=1), Arithmetic(products="onednn"), Arithmetic(threads=3)]
)
def test_afterwards_torch_computes_as_before_even_where_the_work_failed(precision: str, arithmetic: Arithmetic) -> None:
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision(precision)
    before, factor = settings(), torch.randn(8, 8)

    def broken() -> None:
        with arithmetic.active(CPU):
            assert torch.get_num_threads() == (arithmetic.threads or 2)
            expected = torch.bfloat16 if arithmetic.precision == "bf16" else torch.float32
            assert (factor @ factor).dtype == expected
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    assert settings() == before


def test_the_key_tells_apart_what_rounds_differently() -> None:
    ways = [Arithmetic(), Arithmetic("bf16"), Arithmetic(products="onednn"), Arithmetic(attention="eager")]
    assert len({way.key for way in ways}) == len(ways)
    assert Arithmetic(threads=2).key == Arithmetic().key


def test_exact_is_the_same_with_fp32_products() -> None:
    assert Arithmetic("bf16", "onednn", 2).exact == Arithmetic("fp32", "onednn", 2)


# --- in runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(reviews: Path, tiny_model: Path) -> dict[str, Any]:
    return {
        "data": {"train": str(reviews)},
        "model": str(tiny_model),
        "method": "full",
        "training": {"steps": 4, "learning_rate": 0.01, "checkpoint_every": 2},
    }


def test_a_run_that_goes_on_computes_as_it_began_whatever_is_measured_now(
    keep: Keep, recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(keep(bf16=9e11)))
    whole = whet.train(recipe, out=tmp_path / "whole", quiet=True)
    session = Session.start(recipes.parse(recipe), tmp_path / "broken")
    for event in session.events():
        if isinstance(event, Step) and event.step == 2:
            session.stop.make("a test")
    keep(bf16=0.01e11)
    resumed = whet.resume(tmp_path / "broken", quiet=True)
    for run in (whole, resumed):
        told = json.loads((run.folder / "environment.json").read_text())["arithmetic"]
        assert Arithmetic(**told) == Arithmetic("bf16", "mkl", 1)
    one, other = (load_file(run.folder / "model" / "model.safetensors") for run in (whole, resumed))
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    new = whet.train({**recipe, "training": {"steps": 1}}, out=tmp_path / "new", quiet=True)
    assert json.loads((new.folder / "environment.json").read_text())["arithmetic"]["precision"] == "fp32"


def test_bf16_on_a_machine_that_is_slow_at_it_is_refused_before_there_is_a_folder(
    keep: Keep, recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(keep(bf16=0.01e11)))
    recipe["training"] = {"steps": 1, "precision": "bf16"}
    with pytest.raises(RecipeError, match=r"training\.precision"):
        whet.train(recipe, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
