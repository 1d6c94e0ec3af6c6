"""What the decoder of an encoder-decoder is given, by the model's own rule."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel

from whet.errors import ModelError

_PROBE = (5, 6, 7)
"""A target of ordinary tokens."""


def first_token(model: nn.Module) -> int:
    """What stands before every target in the decoder's input; -1 where it is the target's own last token.

    Raises ModelError where the model does not tell.
    """
    root = _root(model)
    try:
        inputs = root.prepare_decoder_input_ids_from_labels(torch.tensor([_PROBE]))  # type: ignore[operator]
    except (AttributeError, ValueError):
        raise ModelError(
            f"a {type(root).__name__} does not tell what its decoder reads first; set task.start_token, or add "
            "'decoder_start_token_id' to its config.json"
        ) from None
    first, *rest = inputs[0].tolist()
    if rest != list(_PROBE[:-1]):
        raise ModelError(f"a {type(root).__name__} gives its decoder more than the target; choose a T5, BART or Marian")
    return -1 if first == _PROBE[-1] else int(first)


def remember(model: nn.Module, *, new_tokens: int, beams: int, first: int, opening: Sequence[int], stop: int) -> None:
    """Write down how the model writes, for whoever loads it: by itself transformers stops after 20 tokens."""
    config = _root(model).generation_config
    assert config is not None
    config.max_new_tokens, config.max_length, config.num_beams = new_tokens, None, beams
    config.decoder_start_token_id, config.eos_token_id = first, stop
    config.forced_bos_token_id = opening[0] if opening else None


def is_adapted(model: nn.Module) -> bool:
    """Does an adapter stand in the model?"""
    return not isinstance(model, PreTrainedModel)


def wants_prefix(model: nn.Module) -> bool:
    """Was the model pre-trained on texts that begin with what is to be done?"""
    return _root(model).config.model_type == "t5"


def _root(model: nn.Module) -> PreTrainedModel:
    return next(module for module in model.modules() if isinstance(module, PreTrainedModel))
