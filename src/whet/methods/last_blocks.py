"""Training the last blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Defaults, Parts, Stage
from whet.errors import ModelError
from whet.model.selection import Selection


@dataclass(frozen=True, config=OPTIONS)
class LastBlocks(Selection):
    """Last blocks: the top of the body and the head train, everything below is frozen.

    Howard and Ruder 2018 (arXiv 1801.06146) and Lee et al. 2019, "What Would Elsa Do? Freezing Layers During
    Transformer Fine-Tuning" (arXiv 1911.03090): a quarter of the blocks reaches about nine tenths of the quality.

    Of L blocks the first L - count only compute; their output (B, T, D) does not change during the run. Choose it
    when full fine-tuning takes too long or over-fits, and the data is not far from what the body was trained on.
    """

    count: Annotated[int, Field(ge=1)] = 2
    """How many blocks train, counted from the head. More costs time and memory and fits the data closer."""

    defaults: ClassVar[Defaults] = Defaults(learning_rate=2e-4, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"count": "1,2,3,4,6"}

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the last blocks, the final norm and the head train."""
        if self.count > len(parts.blocks):
            raise ModelError(
                f"method.count: {self.count} blocks asked for, the model has {len(parts.blocks)}; "
                f"choose at most {len(parts.blocks)}, or method 'full'"
            )
        blocks = [name for block in parts.blocks[-self.count :] for name in block]
        mask = parts.under([*blocks, *parts.final_norm]) | parts.always
        return [Stage(f"last {self.count} blocks", 1.0, mask)]
