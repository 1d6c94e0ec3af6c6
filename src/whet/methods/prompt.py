"""Prompt tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet.catalog import OPTIONS
from whet.core import Cost, Defaults, Parts
from whet.errors import ModelError
from whet.model.targets import counted
from whet.model.virtual_tokens import VirtualTokens

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, config=OPTIONS)
class Prompt(VirtualTokens):
    """Prompt tuning: vectors of virtual tokens at the input train, and the head.

    Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning" (arXiv 2104.08691); for pictures
    Jia et al. 2022, "Visual Prompt Tuning" (arXiv 2203.12119), the shallow form.

    The input X (B, T, D) becomes [P; X] with P (l, D): l D numbers, the fewest of all methods, and the head, which
    trains in full. Texts may be l tokens shorter. Choose it for models with billions of parameters, where the paper
    found it as good as full fine-tuning; on small ones it is clearly worse than ``p_tuning`` and ``lora``.
    """

    length: Annotated[int, Field(ge=1)] = 20
    """Virtual tokens l. More than 20 gained little in the paper; each takes the time of a token."""
    start: Literal["vocabulary", "random"] = "vocabulary"
    """What the vectors start as: those of random tokens of the vocabulary, or random numbers. Pictures and sound have
    no vocabulary; their vectors always start random."""

    text: Annotated[str, Field(min_length=1)] | None = None
    """Words that the vectors start as, such as the question that the task asks; they come again until every vector has
    one, so a text has at most ``length`` tokens."""

    name: ClassVar[str] = "prompt"
    defaults: ClassVar[Defaults] = Defaults(learning_rate=5e-3, schedule="linear", warmup=0.1)
    searched: ClassVar[Mapping[str, str]] = {"length": "5,10,20,50,100"}

    def attach(self, model: nn.Module, parts: Parts) -> nn.Module:
        """The model with virtual tokens; raises ModelError where its input is no row of tokens."""
        from whet.model.prompts import insert

        self._width(parts)
        if self.text is not None and self.start == "random":
            raise ModelError(
                f"method.text: '{self.text}' says what the vectors start as, and method.start 'random' would too; "
                "leave one of them out"
            )
        return insert(self.name, model, parts, self.length, from_vocabulary=self.start == "vocabulary")

    def word(self, model: nn.Module, read: Callable[[str], list[int]] | None) -> None:
        """Start from ``text``; raises ModelError where the model reads none, or it is too long."""
        from whet.model.prompts import begin

        if self.text is None:
            return
        if read is None:
            raise ModelError("method.text: the model reads no words, so its vectors cannot start as some; leave it out")
        numbers = read(self.text)
        if not 0 < len(numbers) <= self.length:
            ways = f"set method.length={len(numbers)}, or shorten it" if numbers else "name some words"
            raise ModelError(
                f"method.text: '{self.text}' has {len(numbers)} tokens for {self.length} virtual ones; {ways}"
            )
        begin(model, numbers)

    def cost(self, parts: Parts) -> Cost:
        """Counts of the vectors and of the head."""
        return counted(parts, self.length * self._width(parts))

    def _width(self, parts: Parts) -> int:
        """Of a token's vector; raises ModelError where there are no tokens."""
        if parts.tokens:
            return parts.parameters[f"{parts.tokens[0]}.weight"][1]
        widths = {parts.linear[name][0] for name in parts.linear if name.rpartition(".")[0] in parts.attention}
        if len(parts.attention) < len(parts.blocks):
            raise ModelError(
                f"method 'prompt': the blocks of {parts.family} read no row of tokens that others could join, as it is "
                "with convolutions; choose 'lora' or 'last_blocks'"
            )
        if len(widths) > 1:
            raise ModelError(
                f"method 'prompt': the stages of {parts.family} merge their tokens by their places, and a virtual one "
                "has none; choose 'p_tuning' or 'lora'"
            )
        return widths.pop()
