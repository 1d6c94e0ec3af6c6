"""Which arithmetic is fast on this machine: measured, chosen, recorded.

In fp32, PyTorch multiplies matrices through MKL unless oneDNN is allowed to use bf16 inside. On some processors that
permission makes oneDNN faster while its results keep the accuracy of fp32; on others it really computes in bf16, so
speed and error are both measured. bf16 keeps weights, sums, norms and the optimiser in fp32 and rounds the factors of
matrix products to 8 bits; it is several times as fast where the processor knows it, and up to a hundred times as slow
where it does not (Kalamkar et al. 2019, arXiv 1905.12322).
"""

import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import torch
from pydantic import Field, TypeAdapter, ValidationError
from torch import nn
from torch.nn import functional

from whet.engine.kernels import Kernels
from whet.errors import RecipeError
from whet.model.parts import attention, set_attention

Precision: TypeAlias = Literal["fp32", "bf16"]

_SHAPES = ((128, 384, 384), (512, 384, 1536), (2048, 768, 768))
"""Rows, width in and width out of the products that are timed, up to those of a large batch."""

_ENOUGH = 0.1
"""Seconds after which larger products are left out: this unit is slow."""

_LENGTHS = (32, 128)
"""Tokens of the rows over which attention is timed."""

FP32_ERROR = 2e-6
"""Largest relative error of a product that still counts as fp32."""

GAIN = 1.15
"""How many times faster something must be to be chosen over what is more exact, or usual."""


@dataclass(frozen=True)
class Arithmetic:
    """How numbers are multiplied during a run."""

    precision: Precision = "fp32"
    products: Literal["mkl", "onednn"] = "mkl"
    """Library for fp32 products on a CPU."""
    threads: int | None = None
    """Threads on a CPU; None leaves torch's own number."""
    attention: Literal["eager"] | None = None
    """Implementation of attention in training; None leaves the model's own."""

    @property
    def key(self) -> str:
        """What decides the last bits of a result, but for the number of threads."""
        return f"{self.precision} {self.products} {self.attention}"

    @property
    def exact(self) -> "Arithmetic":
        """The same with fp32 products: how whoever loads the saved model computes."""
        return replace(self, precision="fp32")

    @contextmanager
    def active(self, device: torch.device) -> Iterator[None]:
        """Meanwhile torch computes like this."""
        matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        before, threads = matmul.fp32_precision, torch.get_num_threads()
        matmul.fp32_precision = "bf16" if self.products == "onednn" else "none"
        other_threads = self.threads is not None and self.threads != threads
        if other_threads:
            torch.set_num_threads(self.threads or threads)
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                yield
        finally:
            matmul.fp32_precision = before
            if other_threads:
                torch.set_num_threads(threads)

    @contextmanager
    def attending(self, model: nn.Module) -> Iterator[None]:
        """Meanwhile the chosen implementation computes the attention of a model that has torch's fused one."""
        own = attention(model)
        if self.attention is None or own != "sdpa":
            yield
            return
        set_attention(model, self.attention)
        try:
            yield
        finally:
            set_attention(model, own)


_Speed: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Measured:
    """Speed of this machine's matrix products, in floating-point operations per second, and their errors."""

    mkl: _Speed
    onednn: _Speed
    onednn_error: float
    bf16: _Speed
    eager_gain: dict[Annotated[str, Field(pattern="^[0-9]+$")], _Speed]
    """How many times faster plain attention is than torch's fused one, forward and backward, in the faster precision,
    by tokens of a row."""
    threads: Annotated[int, Field(ge=1)]
    """Number of threads that was fastest."""

    @property
    def fp32(self) -> Arithmetic:
        """The fastest arithmetic with the accuracy of fp32."""
        exact = self.onednn_error <= FP32_ERROR and self.onednn > GAIN * self.mkl
        return Arithmetic("fp32", "onednn" if exact else "mkl", self.threads)

    def attention(self, length: int) -> Literal["eager"] | None:
        """What computes attention over rows of so many tokens fastest in training; plain attention only where it is
        measured, as its memory grows with the square of the length."""
        fitting = [gain for tokens, gain in self.eager_gain.items() if int(tokens) >= length]
        return "eager" if fitting and fitting[0] >= GAIN else None

    @property
    def fp32_speed(self) -> float:
        """Of that arithmetic."""
        return self.onednn if self.fp32.products == "onednn" else self.mkl


_CHECKED = TypeAdapter(Measured)


def choose(
    precision: Precision | None, device: torch.device, folder: Path | None, length: int
) -> tuple[Arithmetic, str]:
    """The arithmetic for a run, and why; ``precision`` is what the user wants, None leaves it to the measurement.

    ``length`` is how many tokens long rows have. On a CPU speed and error are measured once and kept below ``folder``.
    Raises RecipeError where the device cannot compute like this.
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if precision == "bf16" and not native:
            raise RecipeError("training.precision: this GPU has no bf16; use fp32, or leave precision out")
        wanted: Precision = precision or ("bf16" if native else "fp32")
        return Arithmetic(wanted), "this GPU computes in bf16" if native else "this GPU has no bf16"
    if device.type != "cpu":
        if precision == "bf16":
            raise RecipeError(f"training.precision: bf16 is not tried on '{device.type}'; use fp32, or leave it out")
        return Arithmetic(), f"bf16 is not tried on '{device.type}'"
    speeds = measured(folder)
    gain = speeds.bf16 / speeds.fp32_speed
    plain = speeds.attention(length)
    also = f"; plain attention is faster than the fused one for rows of {length} tokens" if plain else ""
    told = f"bf16 products are {gain:.1f} times as fast as fp32 here ({speeds.bf16 / 1e9:.0f} GFLOP/s)"
    if precision == "bf16" and gain < 1 / GAIN:
        raise RecipeError(f"training.precision: {told}, so it would only lose accuracy; use fp32, or leave it out")
    if (precision or ("bf16" if gain >= GAIN else "fp32")) == "bf16":
        return replace(speeds.fp32, precision="bf16", attention=plain), told + also
    return replace(speeds.fp32, attention=plain), told + also


def measured(folder: Path | None) -> Measured:
    """The speeds of this machine's CPU, measured once and kept below ``folder``."""
    return _kept(folder) or _keep(folder, measure())


def measure() -> Measured:
    """Time a few products on the CPU; takes a fraction of a second."""
    most = torch.get_num_threads()
    # Who set a number of threads wants that number.
    counts = {most} if "OMP_NUM_THREADS" in os.environ or most == 1 else {most, max(1, most // 2)}
    try:
        speeds: dict[int, float] = {}
        for count in counts:
            torch.set_num_threads(count)
            speeds[count] = _speed(torch.float32, "mkl")
        threads = max(counts, key=lambda n: (speeds[n] * (GAIN if n == most else 1.0), n))
        torch.set_num_threads(threads)
        mkl, onednn = speeds[threads], _speed(torch.float32, "onednn")
        bf16 = _speed(torch.bfloat16, "mkl")
        used = torch.bfloat16 if bf16 >= GAIN * max(mkl, onednn) else torch.float32
        gains = {str(length): _eager_gain(length, used) for length in _LENGTHS}
        return Measured(mkl, onednn, _error("onednn"), bf16, gains, threads)
    finally:
        torch.set_num_threads(most)


def _speed(dtype: torch.dtype, products: Literal["mkl", "onednn"]) -> float:
    """Operations per second over all shapes, at the best of a few tries."""
    seconds, operations = 0.0, 0
    with Arithmetic(products=products).active(torch.device("cpu")):
        for rows, width_in, width_out in _SHAPES:
            a, b = torch.randn(rows, width_in).to(dtype), torch.randn(width_out, width_in).to(dtype)
            started = time.perf_counter()
            seconds += _best(partial(functional.linear, a, b))
            operations += 2 * rows * width_in * width_out
            if time.perf_counter() - started > _ENOUGH:
                break
    return operations / seconds


def _eager_gain(length: int, dtype: torch.dtype) -> float:
    """Seconds of torch's fused attention over those of plain attention, for 512 tokens in rows of this length."""
    shape = (512 // length, 12, length, 32)
    query, key, value = (torch.randn(shape).to(dtype).requires_grad_() for _ in range(3))

    def fused() -> None:
        functional.scaled_dot_product_attention(query, key, value, dropout_p=0.1).sum().backward()  # type: ignore[no-untyped-call]

    def plain() -> None:
        with Kernels():
            weights = (query @ key.transpose(2, 3) * shape[3] ** -0.5).softmax(-1, dtype=torch.float32)
            output = functional.dropout(weights.to(query.dtype), 0.1) @ value
        output.sum().backward()  # type: ignore[no-untyped-call]

    with torch.random.fork_rng(devices=[]):
        return _best(fused) / _best(plain)


def _best(work: Callable[[], object], budget: float = 0.012) -> float:
    """Seconds of the fastest of several runs; ends after ``budget`` seconds, so a slow unit is tried but once."""
    work()
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < budget:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def _error(products: Literal["mkl", "onednn"]) -> float:
    """Relative error of fp32 products."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(256, 512, generator=generator), torch.randn(512, 256, generator=generator)
    with Arithmetic(products=products).active(torch.device("cpu")):
        found = a @ b
    exact = a.double() @ b.double()
    return float((found.double() - exact).norm() / exact.norm())


# --- kept per machine -------------------------------------------------------------------------------------------


def _file(folder: Path) -> Path:
    return folder / "arithmetic.json"


def _machine() -> str:
    """What a measurement holds for."""
    capability = torch.backends.cpu.get_cpu_capability()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return f"{_processor()} {capability} {torch.get_num_threads()} {threads} torch {torch.__version__}"


def _processor() -> str:
    """Model of the processor: machines that share a home folder differ in it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(("model name", "flags", "Features")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _kept(folder: Path | None) -> Measured | None:
    if folder is None:
        return None
    try:
        return _CHECKED.validate_python(_measurements(folder)[_machine()])
    except (KeyError, ValidationError):
        return None


def _measurements(folder: Path) -> dict[str, object]:
    """What is kept, by machine, as it stands there; nothing where the file is damaged."""
    try:
        kept = json.loads(_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _keep(folder: Path | None, measured: Measured) -> Measured:
    """Keep a measurement beside those of other machines; where the disk refuses, the next run measures again."""
    if folder is not None:
        kept = {**_measurements(folder), _machine(): asdict(measured)}
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            part = _file(folder).with_suffix(f".{os.getpid()}.part")
            part.write_text(json.dumps(kept, indent=1), encoding="utf-8")
            part.replace(_file(folder))
    return measured
