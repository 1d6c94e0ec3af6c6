"""The least arithmetic that a method needs, from the shape of a BERT: pure numbers.

A product of a token with W weights takes 2 W floating-point operations forward, 2 W for the gradient of the weights and
2 W for the gradient of its input. Counted are products with weights on real tokens; attention scores, norms,
embeddings and the optimiser are left out. What does not change between epochs is computed once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Shape:
    """Weights of a BERT that multiply."""

    width: int
    inner: int
    blocks: int
    classes: int

    @classmethod
    def of(cls, model: Path, classes: int) -> "Shape":
        """The shape of the model in a folder; raises SystemExit where it is no BERT."""
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        if config["model_type"] != "bert":
            raise SystemExit(f"{model}: the benchmark knows the arithmetic of a BERT, not of {config['model_type']}")
        return cls(config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"], classes)

    @property
    def block(self) -> int:
        """Weights of a block: query, key, value, attention output, and the two of the inner layer."""
        return 4 * self.width**2 + 2 * self.width * self.inner

    def adapter(self, rank: int) -> int:
        """Weights of the low-rank updates beside a block."""
        return rank * (4 * 2 * self.width + 2 * (self.width + self.inner))


@dataclass(frozen=True)
class Amount:
    """Rows and real tokens of the three sides."""

    tokens: Mapping[str, int]
    rows: Mapping[str, int]


def least(shape: Shape, amount: Amount, method: str, *, epochs: int, blocks: int, rank: int) -> float:
    """Floating-point operations of training, of the validation after each epoch and of one measurement of the test."""
    train, validation, test = (amount.tokens[side] for side in ("train", "validation", "test"))
    frozen = {"head": shape.blocks, "last_blocks": shape.blocks - blocks}.get(method, 0)
    body, prefix = shape.blocks * shape.block, frozen * shape.block
    above = body - prefix
    once = 2 * prefix * (train + validation) + 2 * body * test
    # What enters the lowest trained block needs no gradient unless the embeddings train: three products read it.
    entering = 0 if method in ("full", "head") else 3 * shape.width**2
    if method == "lora":
        updates = shape.blocks * shape.adapter(rank)
        step = 4 * above - 2 * entering + 6 * updates - 2 * 3 * rank * shape.width
    else:
        step = 6 * above - 2 * entering
    return once + epochs * (step * train + 2 * above * validation) + _head(shape, amount, method, epochs)


def _head(shape: Shape, amount: Amount, method: str, epochs: int) -> float:
    """Pooler and classifier read one token of a row; below a frozen body the pooler's input needs no gradient."""
    pooler, classifier = shape.width**2, shape.width * shape.classes
    step = 6 * (pooler + classifier) - (2 * pooler if method == "head" else 0)
    forward = 2 * (pooler + classifier)
    return epochs * (step * amount.rows["train"] + forward * amount.rows["validation"]) + forward * amount.rows["test"]
