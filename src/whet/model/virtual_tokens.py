"""What all methods share that train virtual tokens and leave every weight of the body as it is.

Where peft computes the very same thing, the model is peft's and what it saves opens with peft alone; where it does not
fit the model, it is one of whet's own kinds of adapter, which peft opens after ``import whet``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NoReturn

from whet.core import Cost, Parts, Stage
from whet.errors import ModelError
from whet.model.targets import counted

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# How the names of what the adapters train begin, at any depth.
_TRAINED = ("prompt_encoder", "whet_prefix", "whet_prompt", "modules_to_save")


class VirtualTokens:
    """A method whose tokens stand in no text."""

    name: ClassVar[str]
    keeps_base: ClassVar[bool] = True

    def stages(self, parts: Parts) -> list[Stage]:
        """One stage in which the virtual tokens and the head train."""
        mask = (name for name in parts.parameters if any(s.startswith(_TRAINED) for s in name.split(".")))
        return [Stage(self.name, 1.0, frozenset(mask))]

    def merge(self, model: nn.Module) -> NoReturn:  # noqa: ARG002
        """Raises ModelError: there is no weight that could take up a token."""
        raise ModelError(
            f"method '{self.name}': virtual tokens cannot be folded into the weights; keep the adapter beside its base "
            "model, with which peft opens it, or choose 'lora', which can be merged"
        )


class DeepPrefix(VirtualTokens):
    """A method whose tokens are keys and values at every block, which train themselves or are made by a network."""

    def check(self, parts: Parts) -> None:
        """Raises ModelError where no attention could read them."""
        if not parts.attention:
            raise ModelError(
                f"method '{self.name}': no block of {parts.family} has an attention that could read keys and values "
                "from outside, as it is with convolutions; choose 'lora' or 'last_blocks'"
            )

    def count(self, parts: Parts, length: int, bottleneck: int | None) -> Cost:
        """Counts for ``length`` tokens; ``bottleneck`` is the width of the network's hidden layer, None without one."""
        self.check(parts)
        widths = list(parts.attention.values())
        stored = 2 * length * sum(widths)
        if bottleneck is None:
            return counted(parts, stored)
        # Tokens (l, W) -> hidden layer (h) -> keys and values of all blocks; both layers have a bias.
        inner = length * max(widths) + (max(widths) + 1) * bottleneck
        return counted(parts, inner + (bottleneck + 1) * 2 * sum(widths), stored=stored)


def check_room(name: str, model: PreTrainedModel, length: int) -> None:
    """Raises ModelError where virtual tokens would leave no position to the text."""
    from whet.model.parts import longest_input  # noqa: PLC0415

    positions = longest_input(model)
    if positions is not None and length >= positions:
        raise ModelError(
            f"method.length: {length} virtual tokens leave no room for a text in the {positions} positions of the "
            f"model; choose fewer, such as {max(1, positions // 10)}, or method 'lora' instead of '{name}'"
        )
