"""Lets a language model go on with texts: the most probable token after the other, until it ends its answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import GenerationConfig, PreTrainedTokenizerBase

from whet.model.silence import silence

AT_ONCE = 16
"""Texts that are written together."""


def write(
    model: nn.Module,
    processor: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
    *,
    longest: int,
    new_tokens: int,
    stops: Sequence[int],
) -> list[str]:
    """What a model writes behind each prompt: at most ``new_tokens``, up to the first of the ``stops``.

    A prompt that leaves too little room among ``longest`` tokens loses its beginning. The model is left in eval mode.
    """
    model.eval()
    room = max(1, longest - new_tokens)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=min(new_tokens, longest - 1),
        do_sample=False,
        eos_token_id=list(stops),
        pad_token_id=processor.pad_token_id,
    )
    written = [""] * len(prompts)
    for start in range(0, len(order), AT_ONCE):
        few = order[start : start + AT_ONCE]
        inputs = _padded([list(prompts[i])[-room:] for i in few], processor, model)
        with torch.inference_mode(), silence():
            tokens = model.generate(**inputs, generation_config=config)  # type: ignore[operator]
        for i, row in zip(few, tokens[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            end = next((position for position, token in enumerate(row) if token in stops), len(row))
            written[i] = _behind(list(prompts[i]), row[:end], processor)
    return written


def _behind(prompt: list[int], written: list[int], processor: PreTrainedTokenizerBase) -> str:
    """The text of new tokens, with the space before it that some tokenizers only show behind other tokens."""
    before, whole = (str(processor.decode(t, skip_special_tokens=True)) for t in (prompt, prompt + written))
    text = whole[len(before) :] if whole.startswith(before) else processor.decode(written, skip_special_tokens=True)
    return str(text).rstrip()


def _padded(prompts: list[list[int]], processor: PreTrainedTokenizerBase, model: nn.Module) -> dict[str, Any]:
    """Padding stands on the left: what is written stands behind the prompt."""
    width = max(len(prompt) for prompt in prompts)
    pad = processor.pad_token_id
    device = next(model.parameters()).device
    tokens = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return {"input_ids": tokens, "attention_mask": mask}
