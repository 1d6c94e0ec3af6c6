"""The fastest large matrix product of this machine, in every arithmetic that torch offers; prints JSON.

    OMP_NUM_THREADS=2 python bench/machine.py

Peak FLOP/s is the best of three ways: operands in fp32, in fp32 with torch's switch that lets oneDNN compute fp32
products by bf16 instructions, and in bf16.
"""

import json
import time
from typing import Any

import torch

WARM_UP, LARGE = 1024, 4096
"""Widths of the square matrices."""
REPEATS = 10
HOPELESS = 10.0
"""A way so many times slower than the best one at the small width is not tried at the large one."""


SWITCH: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # torch puts it there at run time


def main() -> None:
    # Whatever the switch says at the start is the plain way.
    plain = SWITCH.fp32_precision
    ways = {"fp32": (torch.float32, plain), "fp32 by bf16": (torch.float32, "bf16"), "bf16": (torch.bfloat16, plain)}
    small = {name: _speed(WARM_UP, *way) for name, way in ways.items()}
    best = max(small.values())
    speeds = {name: _speed(LARGE, *way) for name, way in ways.items() if small[name] * HOPELESS > best}
    fastest = max(speeds, key=lambda name: speeds[name])
    features = torch.cpu.get_capabilities()
    print(
        json.dumps(
            {
                "peak": speeds[fastest],
                "way": fastest,
                "speeds": {**small, **speeds},
                "native_bf16": any(features.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")),
                "threads": torch.get_num_threads(),
                "cores": features.get("num_physical_cores") or torch.get_num_threads(),
                "processor": features.get("cpu_name"),
                "torch": torch.__version__,
            }
        )
    )


def _speed(width: int, dtype: torch.dtype, precision: str) -> float:
    """FLOP/s of the fastest of some products of two (width, width) matrices."""
    SWITCH.fp32_precision = precision
    one, other = torch.randn(width, width).to(dtype), torch.randn(width, width).to(dtype)
    seconds = []
    for _ in range(1 + REPEATS):
        started = time.perf_counter()
        one @ other
        seconds.append(time.perf_counter() - started)
    return 2 * width**3 / min(seconds[1:])


if __name__ == "__main__":
    main()
