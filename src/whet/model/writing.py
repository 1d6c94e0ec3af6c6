"""Lets models write until they end their answer: a decoder goes on with texts, an encoder-decoder rewrites them."""

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
        prompt = [list(prompts[i])[-room:] for i in few]
        # What is written stands behind the prompt.
        inputs = _padded(prompt, int(processor.pad_token_id or 0), model, left=True)
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


def rewrite(
    model: nn.Module,
    processor: PreTrainedTokenizerBase,
    sources: Sequence[Sequence[int]],
    *,
    padding: int,
    new_tokens: int,
    beams: int,
    first: int,
    opening: Sequence[int],
    stop: int,
) -> list[str]:
    """What an encoder-decoder writes for each source, by the tokenizer of its targets: at most ``new_tokens``.

    The decoder reads ``first`` before it writes, and is made to write ``opening``, of one token at most. With more than
    one of the ``beams`` the most probable of so many texts is taken. The model is left in eval mode.
    """
    model.eval()
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=new_tokens,
        do_sample=False,
        num_beams=beams,
        eos_token_id=stop,
        pad_token_id=processor.pad_token_id,
        decoder_start_token_id=first,
        forced_bos_token_id=opening[0] if opening else None,
    )
    written = [""] * len(sources)
    for start in range(0, len(order), AT_ONCE):
        few = order[start : start + AT_ONCE]
        inputs = _padded([list(sources[i]) for i in few], padding, model, left=False)
        with torch.inference_mode(), silence():
            told = model.generate(**inputs, generation_config=config)  # type: ignore[operator]
        for i, row in zip(few, told[:, 1:].tolist(), strict=True):
            end = row.index(stop) if stop in row else len(row)
            written[i] = str(processor.decode(row[:end], skip_special_tokens=True)).strip()
    return written


def _padded(rows: list[list[int]], padding: int, model: nn.Module, *, left: bool) -> dict[str, Any]:
    """Rows of one length, filled up on the left or on the right."""
    width = max(len(row) for row in rows)
    fills = [[padding] * (width - len(row)) for row in rows]
    seen = [[1] * len(row) for row in rows]
    blind = [[0] * len(fill) for fill in fills]
    device = next(model.parameters()).device
    tokens = [a + b for a, b in (zip(fills, rows, strict=True) if left else zip(rows, fills, strict=True))]
    mask = [a + b for a, b in (zip(blind, seen, strict=True) if left else zip(seen, blind, strict=True))]
    return {"input_ids": torch.tensor(tokens, device=device), "attention_mask": torch.tensor(mask, device=device)}
