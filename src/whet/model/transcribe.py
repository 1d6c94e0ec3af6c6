"""From what a model hears to what is said: the loss and the reading of a CTC model, and Whisper's writing.

Shape letters: B clips, T steps of the longest, V tokens, S tokens of the longest transcript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import WhisperTokenizer
from transformers.modeling_outputs import BaseModelOutput

from whet.core import Loaded
from whet.errors import ModelError
from whet.model.locate import opening
from whet.model.silence import silence

UNLEARNED = -100
"""The target of a token that is not learned."""


def ctc_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over the clips of -log p(transcript): of all ways to spread its characters over the steps.

    ``logits`` (B, T, V); ``targets`` (B, 2 + S): steps of the clip, the blank, and characters with -1 behind them.
    Graves et al. 2006, "Connectionist Temporal Classification".
    """
    characters = targets[:, 2:]
    return functional.ctc_loss(
        logits.float().log_softmax(dim=-1).transpose(0, 1),
        characters.clamp(min=0),
        targets[:, 0],
        (characters >= 0).sum(dim=1),
        blank=int(targets[0, 1]),
        reduction="sum",
    )


def ctc_tokens(logits: Tensor, targets: Tensor, kept: int) -> np.ndarray:
    """(B, kept) the most probable token of each step, repetitions counted once and blanks left out, -1 behind them."""
    best = logits.argmax(dim=-1)
    steps, blank = targets[:, 0], targets[0, 1]
    inside = torch.arange(best.shape[1], device=best.device) < steps[:, None]
    first = torch.ones_like(inside)
    first[:, 1:] = best[:, 1:] != best[:, :-1]
    said = (inside & first & (best != blank)).cpu().numpy()
    found = np.full((len(best), kept), -1, dtype=np.int32)
    for row, tokens in enumerate(best.cpu().numpy()):
        chosen = tokens[said[row]][:kept]
        found[row, : len(chosen)] = chosen
    return found


def forced(logits: Tensor, targets: Tensor) -> tuple[Tensor, np.ndarray]:
    """The sum of the losses of the tokens that are learned, and (B, 3) loss, tokens and right ones of each clip.

    ``logits`` (B, S, V) were computed with the true tokens before each; ``targets`` (B, S).
    """
    losses = functional.cross_entropy(logits.float().transpose(1, 2), targets, ignore_index=UNLEARNED, reduction="none")
    learned = targets != UNLEARNED
    hits = (logits.argmax(dim=-1) == targets) & learned
    sums = torch.stack([losses.detach().double().sum(1), learned.double().sum(1), hits.double().sum(1)], dim=1)
    return losses.sum(), sums.cpu().numpy()


@torch.inference_mode()
def written(
    model: nn.Module, inputs: Mapping[str, Tensor], first: Sequence[int], stop: int, most: int
) -> list[list[int]]:
    """The most probable token after the other, behind the first ones and before the stop, at most so many."""
    rows = len(next(iter(inputs.values())))
    device = next(model.parameters()).device
    tokens = torch.tensor([list(first)] * rows, device=device)
    heard: BaseModelOutput | None = None
    ended = torch.zeros(rows, dtype=torch.bool, device=device)
    for _ in range(most):
        given = inputs if heard is None else {"encoder_outputs": heard}
        with silence():
            outputs = model(**given, decoder_input_ids=tokens, use_cache=False)
        if heard is None:
            heard = BaseModelOutput(last_hidden_state=outputs.encoder_last_hidden_state)
        following = outputs.logits[:, -1].argmax(dim=-1)
        following[ended] = stop
        ended |= following == stop
        tokens = torch.cat([tokens, following[:, None]], dim=1)
        if bool(ended.all()):
            break
    return [[one for one in row if one != stop] for row in tokens[:, len(first) :].tolist()]


def prepared(loaded: Loaded, language: str | None) -> Loaded:
    """A model that begins its texts as it will learn them, without times; raises ModelError for an unknown language."""
    tokenizer = loaded.processor.tokenizer
    if not isinstance(tokenizer, WhisperTokenizer):
        if language is not None:
            raise ModelError("task.language: this model writes characters and is told no language; leave it out")
        return loaded
    if language is not None:
        with opening(f"{loaded.name}: task.language"):
            tokenizer.set_prefix_tokens(language=language, task="transcribe")
    config = loaded.model.generation_config
    if config is not None:
        vars(config).setdefault("no_timestamps_token_id", tokenizer.convert_tokens_to_ids("<|notimestamps|>"))
    return loaded
