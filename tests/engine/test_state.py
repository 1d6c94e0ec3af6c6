import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.engine.jobs import files_of_at_most
from whet.engine import state
from whet.engine.schedule import PlateauState
from whet.engine.state import KEPT, Checkpoint, Progress, Tensors
from whet.errors import RunFolderError, SaveError

TENSORS = ("weights", "best", "optimizer", "random", "average")
FILES = (*(f"{name}.safetensors" for name in TENSORS), "state.json")


def checkpoint(step: int, numbers: int = 6) -> Checkpoint:
    """A checkpoint of ``numbers`` weights whose values tell its step."""
    weights = {"weight": torch.full((numbers,), float(step)), "steps": torch.tensor(step)}
    return Checkpoint(
        progress=Progress(step, 2, {"accuracy": 1 / 3, "loss": 0.1}, 4, PlateauState(0.5, 1)),
        weights=weights,
        best={},
        optimizer={"weight|exp_avg": torch.zeros(numbers)},
        random=state.random_state(),
    )


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def bytes_of(tensor: Tensor) -> bytes:
    return bytes(tensor.reshape(-1).view(torch.uint8).numpy())


def steps_of(folder: Path) -> list[str]:
    """Names of all that is in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


# --- tensors in and out of live objects -------------------------------------------------------------------------


class Net(nn.Module):
    """A layer, a norm with running statistics, a single number, and a buffer that is not part of the state."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.scale = nn.Parameter(torch.tensor(1.5))
        self.register_buffer("positions", torch.arange(3), persistent=False)


STATISTICS = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}


def test_copies_hold_the_mask_and_the_running_statistics_and_live_apart_from_the_model() -> None:
    net = Net()
    copies = state.copy_weights(net, frozenset({"layer.weight", "scale"}))
    assert copies.keys() == {"layer.weight", "scale"} | STATISTICS
    with torch.no_grad():
        net.layer.weight.zero_()
    assert copies["layer.weight"].count_nonzero() > 0


def test_restored_weights_are_what_was_copied() -> None:
    net, mask = Net(), frozenset({"layer.weight", "scale"})
    copies = state.copy_weights(net, mask)
    bias = net.layer.bias.detach().clone()
    with torch.no_grad():
        for tensor in (net.layer.weight, net.scale, net.norm.running_mean):
            assert tensor is not None
            tensor.add_(1)
    state.restore_weights(net, mask, copies)
    assert same(state.copy_weights(net, mask), copies)
    assert torch.equal(net.layer.bias, bias)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layer.weight": torch.zeros(1)}, ["'layer.weight'", "(1,)", "(2, 3)"]),
        ({"scala": torch.zeros(1)}, ["'scala'", "(1,)", "absent"]),
        ({"layer.weight": None}, ["'layer.weight'", "absent", "(2, 3)"]),
    ],
)
def test_weights_of_another_model_are_refused_and_change_nothing(
    change: dict[str, Tensor | None], words: list[str]
) -> None:
    net, mask = Net(), frozenset({"layer.weight", "scale"})
    before = state.copy_weights(net, mask)
    foreign = {name: tensor + 1 for name, tensor in before.items()} | change
    with pytest.raises(RunFolderError) as error:
        state.restore_weights(net, mask, {name: tensor for name, tensor in foreign.items() if tensor is not None})
    assert all(word in str(error.value) for word in [*words, "whet train"])
    assert same(state.copy_weights(net, mask), before)


def twisted_step(number: int, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """One step with gradients that depend on its number."""
    for parameter in parameters:
        optimizer.zero_grad()
        numbers = number + torch.arange(parameter.numel()).reshape(parameter.shape)
        (parameter.sin() * numbers).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimiser_that_takes_up_anothers_state_takes_the_same_steps(kind: str, momentum: float) -> None:
    # A transposed weight, whose moments have strides of their own, and a single number.
    def parameters() -> list[nn.Parameter]:
        return [nn.Parameter(torch.arange(12.0).reshape(3, 4).t()), nn.Parameter(torch.tensor(2.0))]

    def optimizer(of: list[nn.Parameter]) -> torch.optim.Optimizer:
        if kind == "sgd":
            return torch.optim.SGD(of, lr=0.1, momentum=momentum, fused=True)
        return torch.optim.AdamW(of, lr=0.1, fused=True)

    names = ["matrix", "number"]
    whole, first = parameters(), parameters()
    one, two = optimizer(whole), optimizer(first)
    for number in range(3):
        twisted_step(number, one, whole)
        twisted_step(number, two, first)
    taken = state.optimizer_state(two, names)
    untouched = {name: tensor.clone() for name, tensor in taken.items()}
    assert all(tensor.is_contiguous() for tensor in taken.values())
    three = optimizer(first)
    assert state.restore_optimizer(three, names, taken) == {}
    for number in range(3, 6):
        twisted_step(number, one, whole)
        twisted_step(number, three, first)
    assert all(torch.equal(a, b) for a, b in zip(whole, first, strict=True))
    assert same(taken, untouched)


def test_moments_of_parameters_that_rest_are_handed_back() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([parameter], fused=True)
    tensors = {"here|exp_avg": torch.ones(2), "away|exp_avg": torch.ones(3), "a|b|exp_avg": torch.ones(4)}
    unused = state.restore_optimizer(optimizer, ["here"], tensors)
    assert unused.keys() == {"away|exp_avg", "a|b|exp_avg"}
    assert optimizer.state[parameter].keys() == {"exp_avg"}


def test_random_numbers_go_on_where_they_were() -> None:
    torch.manual_seed(5)
    torch.rand(3)
    taken = state.random_state()
    expected = torch.rand(4)
    state.restore_random(taken | {"cuda99": torch.zeros(16, dtype=torch.uint8)})
    assert torch.equal(torch.rand(4), expected)


# --- on the disk ------------------------------------------------------------------------------------------------


def test_a_checkpoint_read_is_the_checkpoint_written(tmp_path: Path) -> None:
    written = checkpoint(7)
    path = state.write(tmp_path / "new" / "folder", written)
    assert path == tmp_path / "new" / "folder" / "step-00000007"
    found, complaints = state.newest(path.parent)
    assert found is not None
    assert (found.progress, complaints) == (written.progress, [])
    for name in TENSORS:
        assert same(vars(found)[name], vars(written)[name])


def test_before_the_first_evaluation_there_is_nothing_best(tmp_path: Path) -> None:
    written = replace(checkpoint(1), progress=Progress(step=1), best={}, optimizer={})
    assert state.read(state.write(tmp_path, written)).progress == Progress(step=1)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs the command sha256sum")
def test_the_digests_can_be_checked_without_whet(tmp_path: Path) -> None:
    path = state.write(tmp_path, checkpoint(1))
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=path, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(word for name in FILES for word in (f"{name}:", "OK"))


def test_the_newest_and_the_one_before_stay(tmp_path: Path) -> None:
    for step in (9, 10, 99, 100_000_000):
        state.write(tmp_path, checkpoint(step))
    assert KEPT == 2
    assert steps_of(tmp_path) == ["step-00000099", "step-100000000"]
    found, _ = state.newest(tmp_path)
    assert found is not None
    assert found.progress.step == 100_000_000


def test_where_nothing_was_saved_nothing_is_found(tmp_path: Path) -> None:
    assert state.newest(tmp_path) == (None, [])
    assert state.newest(tmp_path / "absent") == (None, [])


def test_what_a_killed_process_left_is_ignored_and_then_cleaned(tmp_path: Path) -> None:
    state.write(tmp_path, checkpoint(2))
    half = tmp_path / ".step-00000004.part"
    half.mkdir()
    (half / "weights.safetensors").write_bytes(b"half")
    found, complaints = state.newest(tmp_path)
    assert found is not None
    assert (found.progress.step, complaints) == (2, [])
    state.write(tmp_path, checkpoint(3))
    assert steps_of(tmp_path) == ["step-00000002", "step-00000003"]


def test_what_is_no_checkpoint_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "step-notes").mkdir()
    (tmp_path / "step-00000009").write_text("a file")
    for step in (1, 2, 3):
        state.write(tmp_path, checkpoint(step))
    assert steps_of(tmp_path) == ["step-00000002", "step-00000003", "step-00000009", "step-notes"]
    assert state.newest(tmp_path)[1] == []


# --- damage -----------------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scribble(path: Path) -> None:
    path.write_bytes(b"\xff\xfenot what was written")


DAMAGES: list[Callable[[Path], None]] = [truncate, flip, empty, scribble, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", [*FILES, "SHA256SUMS"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_taken(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    state.write(tmp_path, checkpoint(4))
    path = state.write(tmp_path, checkpoint(6))
    damage(path / name)
    found, complaints = state.newest(tmp_path)
    assert found is not None
    assert found.progress.step == 4
    assert len(complaints) == 1
    assert str(path) in complaints[0]
    assert name in complaints[0]


def test_no_single_flipped_bit_of_the_plain_files_goes_unnoticed(tmp_path: Path) -> None:
    path = state.write(tmp_path, checkpoint(6))
    whole = state.read(path)
    for name in ("state.json", "SHA256SUMS"):
        content = (path / name).read_bytes()
        for position in range(0, len(content), 3):
            flipped = bytearray(content)
            flipped[position] ^= 1 << position % 8
            (path / name).write_bytes(flipped)
            found, complaints = state.newest(tmp_path)
            assert complaints or (found is not None and found.progress == whole.progress)
            # In the counters a changed blank is damage too; in the digests a line may end in another way.
            assert complaints or (name == "SHA256SUMS" and content[position : position + 1] == b"\n")
        (path / name).write_bytes(content)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "7", '"text"', "{}", '{"plateau": null}', '{"plateau": {}, "unheard_of": 1}']
)
def test_a_state_that_another_program_wrote_is_refused(tmp_path: Path, text: str) -> None:
    path = state.write(tmp_path, checkpoint(6))
    (path / "state.json").write_text(text)
    digests = (path / "SHA256SUMS").read_text().splitlines()
    digests = [line for line in digests if "state.json" not in line]
    (path / "SHA256SUMS").write_text("\n".join([*digests, f"{sha256(text.encode()).hexdigest()}  state.json"]))
    with pytest.raises(RunFolderError, match="step-00000006 cannot be read"):
        state.read(path)


def test_when_all_are_damaged_each_is_named(tmp_path: Path) -> None:
    for step in (4, 6):
        truncate(state.write(tmp_path, checkpoint(step)) / "weights.safetensors")
    found, complaints = state.newest(tmp_path)
    assert found is None
    assert ["step-00000006" in complaints[0], "step-00000004" in complaints[1]] == [True, True]


def test_a_damaged_checkpoint_is_replaced_when_its_step_comes_again(tmp_path: Path) -> None:
    state.write(tmp_path, checkpoint(4))
    truncate(state.write(tmp_path, checkpoint(6)) / "weights.safetensors")
    state.write(tmp_path, checkpoint(6))
    found, complaints = state.newest(tmp_path)
    assert found is not None
    assert (found.progress.step, complaints) == (6, [])


def test_damaged_checkpoints_of_later_steps_do_not_push_out_a_new_one(tmp_path: Path) -> None:
    for step in (6, 8):
        truncate(state.write(tmp_path, checkpoint(step)) / "weights.safetensors")
    state.write(tmp_path, checkpoint(2))
    assert steps_of(tmp_path) == ["step-00000002"]
    assert json.loads((tmp_path / "step-00000002" / "state.json").read_text())["step"] == 2


# --- the disk refuses -------------------------------------------------------------------------------------------

LARGE = 20_000
"""Numbers in a checkpoint that does not fit any more."""


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield folder
    # Lazily: what was read is mapped into memory until it is collected.
    subprocess.run(["umount", "--lazy", folder], check=True)


def assert_refused(folder: Path, reason: str) -> None:
    """Writing a large checkpoint fails as it should and leaves the one of step 4 whole."""
    with pytest.raises(SaveError) as error:
        state.write(folder, checkpoint(6, LARGE))
    for words in (str(folder / "step-00000006"), reason, "whet resume"):
        assert words in str(error.value)
    found, complaints = state.newest(folder)
    assert found is not None
    assert (found.progress.step, complaints) == (4, [])


def test_a_full_disk_leaves_the_earlier_checkpoint_and_no_litter(tiny_disk: Path) -> None:
    state.write(tiny_disk, checkpoint(4))
    assert_refused(tiny_disk, "No space left on device")
    assert steps_of(tiny_disk) == ["step-00000004"]
    state.write(tiny_disk, checkpoint(6))
    assert steps_of(tiny_disk) == ["step-00000004", "step-00000006"]


def test_a_disk_that_has_become_read_only_leaves_the_earlier_checkpoint(tiny_disk: Path) -> None:
    state.write(tiny_disk, checkpoint(4))
    subprocess.run(["mount", "-o", "remount,ro", tiny_disk], check=True)
    assert_refused(tiny_disk, "Read-only file system")


def test_a_file_that_may_not_grow_leaves_the_earlier_checkpoint_and_no_litter(tmp_path: Path) -> None:
    state.write(tmp_path, checkpoint(4))
    with files_of_at_most(4 * LARGE):
        assert_refused(tmp_path, "File too large")
    assert steps_of(tmp_path) == ["step-00000004"]


def test_all_is_on_the_disk_before_it_bears_the_name_of_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: dict[bool, set[int]] = {False: set(), True: set()}
    final = tmp_path / "step-00000006"
    monkeypatch.setattr(os, "fsync", lambda handle: flushed[final.exists()].add(os.fstat(handle).st_ino))
    state.write(tmp_path, checkpoint(6))
    assert flushed[False] == {path.stat().st_ino for path in (final, *final.iterdir())}
    assert flushed[True] == {tmp_path.stat().st_ino}


def test_a_disk_that_stores_something_else_is_noticed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.write(tmp_path, checkpoint(4))
    broken = tmp_path / ".step-00000006.part" / "best.safetensors"
    monkeypatch.setattr(os, "fsync", lambda _: broken.write_bytes(b"something else"))
    assert_refused(tmp_path, "best.safetensors is damaged")
    assert steps_of(tmp_path) == ["step-00000004"]


def test_what_the_disk_changed_before_it_was_read_back_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its digest is taken of the changed file, so only a comparison with what should be there can tell.
    def garbled(tensors: Tensors, path: Path) -> None:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
        if path.name == "weights.safetensors":
            flip_last(path)

    state.write(tmp_path, checkpoint(4))
    monkeypatch.setattr(state, "save_file", garbled)
    assert_refused(tmp_path, "weights.safetensors is damaged")
    assert steps_of(tmp_path) == ["step-00000004"]


def test_weights_that_are_no_numbers_are_read_back_as_they_are(tmp_path: Path) -> None:
    odd = torch.tensor([math.nan, -0.0, math.inf, -math.inf])
    weights = {f"{dtype}": odd.to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)}
    weights |= {"truth": torch.tensor([True, False]), "nothing": torch.zeros(0, 3), "one": torch.tensor(-0.0)}
    read = state.read(state.write(tmp_path, replace(checkpoint(1), weights=weights))).weights
    assert read.keys() == weights.keys()
    assert all(bytes_of(tensor) == bytes_of(weights[name]) for name, tensor in read.items())


def test_the_name_of_a_new_folder_is_on_the_disk_before_a_checkpoint_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "run" / "checkpoints" / "step-00000006"
    flushed: dict[bool, set[int]] = {False: set(), True: set()}
    monkeypatch.setattr(os, "fsync", lambda handle: flushed[final.exists()].add(os.fstat(handle).st_ino))
    state.write(final.parent, checkpoint(6))
    assert {path.stat().st_ino for path in (tmp_path, tmp_path / "run")} <= flushed[False]


def test_a_file_in_the_place_of_the_folder_is_an_error_of_saving(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(SaveError, match="checkpoints/step-00000001 could not be written"):
        state.write(tmp_path / "checkpoints", checkpoint(1))


def test_a_file_in_the_place_of_a_checkpoint_is_an_error_of_saving(tmp_path: Path) -> None:
    (tmp_path / "step-00000001").write_text("in the way")
    with pytest.raises(SaveError, match="step-00000001 could not be written"):
        state.write(tmp_path, checkpoint(1))
    assert steps_of(tmp_path) == ["step-00000001"]


# --- the process is killed --------------------------------------------------------------------------------------

TOUCHING = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "shutil.rmtree"}
"""What Python tells its audit hooks before it touches the disk."""


def killed_before(number: int, write: Callable[[], object]) -> bool:
    """Do ``write`` in a child that kills itself before it touches the disk for the ``number``th time, from 1 on.

    False where it is done before that.
    """
    child = os.fork()
    if child == 0:
        touched, done = 0, False

        def watch(event: str, _: object) -> None:
            nonlocal touched
            if event in TOUCHING:
                touched += 1
                if touched == number:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            write()
            done = True
        finally:
            # Whatever happened, a child must not go on with the tests.
            os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return os.WIFSIGNALED(status)


SITUATIONS: dict[str, list[int]] = {
    "first": [],
    "third, so that one goes": [2, 4],
    "once more": [2, 4, 6],
}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
@pytest.mark.parametrize("before", SITUATIONS.values(), ids=SITUATIONS)
def test_whatever_the_moment_a_kill_leaves_whole_checkpoints_only(tmp_path: Path, before: list[int]) -> None:
    for number in itertools.count(1):
        folder = tmp_path / str(number)
        for step in before:
            state.write(folder, checkpoint(step))
        killed = killed_before(number, partial(state.write, folder, checkpoint(6)))
        taken, complaints = state.newest(folder)
        assert complaints == []
        assert taken is not None or not before
        state.write(folder, checkpoint(10))
        assert "step-00000010" in steps_of(folder)
        assert len(steps_of(folder)) <= KEPT
        if not killed:
            assert taken is not None
            assert taken.progress.step == 6
            break
    assert number > 20
