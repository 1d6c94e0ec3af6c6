"""Puts a peft adapter into a model and takes it out again, and keeps parts of its parameters from training.

Which layers it is for is said by ``targets``; this module knows no method.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization
from transformers import PreTrainedModel

from whet.errors import ModelError

# Peft's word for what a model answers, by the ending of the model's class; it picks the class that loads the adapter.
_TASK_TYPES = {
    "ForSequenceClassification": "SEQ_CLS",
    "ForTokenClassification": "TOKEN_CLS",
    "ForConditionalGeneration": "SEQ_2_SEQ_LM",
    "MarianMTModel": "SEQ_2_SEQ_LM",
    "EncoderDecoderModel": "SEQ_2_SEQ_LM",
    "ForCausalLM": "CAUSAL_LM",
}

ADAPTER = "default"
"""What peft calls the only adapter of a model."""


def task_type(model: nn.Module) -> str | None:
    """Peft's word for what a model answers."""
    word = next((word for ending, word in _TASK_TYPES.items() if type(model).__name__.endswith(ending)), None)
    # Peft's own way through an encoder-decoder is for token numbers only.
    hears = isinstance(model, PreTrainedModel) and model.main_input_name != "input_ids"
    return None if word == "SEQ_2_SEQ_LM" and hears else word


def attached(model: nn.Module, config: PeftConfig) -> nn.Module:
    """The model as a peft model, whose layers stand below ``base_model.model`` now."""
    config.task_type = task_type(model)
    with warnings.catch_warnings():
        # Peft warns of what it mends itself: GPT-2's kind of layer, and names that transformers gave up.
        warnings.simplefilter("ignore")
        wrapped: nn.Module = get_peft_model(model, config)
    _refuse_looking_in(model, wrapped)
    return wrapped


def _refuse_looking_in(model: nn.Module, wrapped: nn.Module) -> None:
    """Raise ModelError for a model that asks its convolutions how wide they are; an adapter cannot tell."""
    asks = isinstance(model, PreTrainedModel) and model.config.to_dict().get("tf_padding", False)
    around = (m.base_layer for m in wrapped.modules() if isinstance(m, BaseTunerLayer))
    if asks and any(isinstance(layer, nn.Conv2d) for layer in around):
        raise ModelError(
            f"a {type(model).__name__} with 'tf_padding' looks into its convolutions to pad what they read, which an "
            "adapter around them does not allow; choose 'last_blocks', 'full' or 'bitfit'"
        )


def merged(model: nn.Module) -> nn.Module:
    """A plain model with what the adapter learned in its own weights, in their precision."""
    assert isinstance(model, PeftModel)
    # Not every kind of adapter can take out again what trained in full, where that is more than a single layer.
    for name, module in list(model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper):
            parent, _, child = name.rpartition(".")
            model.get_submodule(parent).register_module(child, module.modules_to_save[ADAPTER])
    plain: nn.Module = model.merge_and_unload()
    return plain


def keep_part(module: nn.Module, name: str, dim: int, kept: int, *, first: bool = False) -> None:
    """Split a parameter in two along ``dim``, of which one can be frozen by name: the ``kept`` last slices, or first.

    ``parametrizations.NAME.original0`` is what learns, ``original1`` what is kept. The module computes with both as
    one, and its ``state_dict`` has them as one, so the adapter is saved as any other of its kind.
    """
    joined = _Joined(dim, kept, first)
    register_parametrization(module, name, joined)

    def join(_: nn.Module, state: dict[str, Any], prefix: str, __: object) -> None:
        parts = (state.pop(f"{prefix}parametrizations.{name}.original{i}") for i in (0, 1))
        state[prefix + name] = joined(*parts)

    module.register_state_dict_post_hook(join)  # type: ignore[no-untyped-call]


class _Joined(nn.Module):
    """A tensor whose first or last slices are a tensor of their own."""

    def __init__(self, dim: int, kept: int, first: bool) -> None:
        super().__init__()
        self.dim, self.kept, self.first = dim, kept, first

    def forward(self, learned: Tensor, kept: Tensor) -> Tensor:
        return torch.cat((kept, learned) if self.first else (learned, kept), self.dim)

    def right_inverse(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """The two parts of a whole, in memory of their own."""
        learned = whole.shape[self.dim] - self.kept
        kept_part = whole.narrow(self.dim, 0 if self.first else learned, self.kept)
        return whole.narrow(self.dim, self.kept if self.first else 0, learned).clone(), kept_part.clone()
