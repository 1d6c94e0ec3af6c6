"""Runs a Python command line and counts what its model computed; its times mean nothing.

    python bench/count.py COUNTS.json -m whet train ...
    python bench/count.py COUNTS.json bench/trainer_peer.py ...

Counted are the floating-point operations of products with weights, forward and backward, and the tokens of the rows
that went through the model, without and with padding. Products of attention scores are left out, as in the limit.
"""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

PRODUCTS = (torch.ops.aten.mm, torch.ops.aten.addmm, torch.ops.aten._addmm_activation)
"""What a linear layer becomes; attention multiplies with bmm or in one piece."""


def main() -> None:
    out, *command = sys.argv[1:]
    tokens = {"real": 0, "padded": 0}
    PreTrainedModel.__call__ = _counting(PreTrainedModel.__call__, tokens)  # type: ignore[method-assign]
    counter = FlopCounterMode(display=False)
    with counter:
        _run(command)
    flops = sum(counter.get_flop_counts()["Global"].get(product, 0) for product in PRODUCTS)
    Path(out).write_text(json.dumps({"flops": flops, **{f"{kind}_tokens": count for kind, count in tokens.items()}}))


def _run(command: list[str]) -> None:
    try:
        if command[0] == "-m":
            sys.argv = command[1:]
            runpy.run_module(command[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = command
            sys.path.insert(0, str(Path(command[0]).parent))
            runpy.run_path(command[0], run_name="__main__")
    except SystemExit as ended:
        if ended.code:
            raise


def _counting(original: Callable[..., Any], tokens: dict[str, int]) -> Callable[..., Any]:
    """The call of a model that first adds its tokens; models inside of models are not counted twice."""
    depth = 0

    def call(self: PreTrainedModel, *args: Any, **kwargs: Any) -> Any:
        nonlocal depth
        if depth == 0:
            mask = kwargs["attention_mask"]
            tokens["real"] += int(mask.sum())
            tokens["padded"] += mask.numel()
        depth += 1
        try:
            return original(self, *args, **kwargs)
        finally:
            depth -= 1

    return call


if __name__ == "__main__":
    main()
