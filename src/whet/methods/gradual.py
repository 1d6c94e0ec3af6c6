"""Gradual unfreezing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class Gradual(Selection):
    """Gradual unfreezing: the head trains first, then one block after the other joins from the top.

    Howard and Ruder 2018, "Universal Language Model Fine-tuning for Text Classification" (arXiv 1801.06146), with its
    slanted triangular schedule.

    After the head one group of blocks joins per stage, from the top, and at last the stem; a block at depth d of L
    learns at ``learning_rate * layer_decay ** (L + 1 - d)``. What is still frozen is computed once and for all. Choose
    it for few rows, where full fine-tuning forgets more than it learns.
    """

    unfreezing: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the steps in which blocks are still joining; in the rest everything trains."""
    groups: Annotated[int, Field(ge=1)] = 4
    """In how many groups the blocks join. The paper's network had four; fewer leave more steps for each."""

    # Each block learns 2.6 times slower than the one above it.
    defaults: ClassVar[Defaults] = Defaults(
        learning_rate=1e-3, schedule="slanted_triangular", warmup=0.0, settled_steps=600, layer_decay=0.385
    )
    searched: ClassVar[Mapping[str, str]] = {"unfreezing": "0.3,0.5,0.7"}

    def stages(self, parts: Parts) -> list[Stage]:
        """The head, then the head with ever more blocks, then everything."""
        count = len(parts.blocks)
        groups = min(self.groups, count)
        share = self.unfreezing / (groups + 1)
        mask = self.head_alone(parts, "gradual")
        stages = [Stage("head", share, mask)]
        for number in range(1, groups + 1):
            joined = round(number * count / groups)
            blocks = [name for block in parts.blocks[count - joined :] for name in block]
            mask = mask | parts.under([*blocks, *parts.final_norm])
            stages.append(Stage(f"last {joined} blocks", share, mask))
        return [*stages, Stage("all", 1.0 - self.unfreezing, frozenset(parts.parameters))]
