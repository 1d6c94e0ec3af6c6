"""Tiny random models of every family that whet promises to train; shared by the contract tests.

Each is a real transformers model for classification with 3 classes: 16 or 32 wide, 3 or 4 blocks deep
(encoder-decoders 2 + 2, hierarchical ones 2 stages of 1 + 2 layers), with dropout, so that the difference between
training and evaluation mode shows. SpecAugment and stochastic depth are off: no test could tell their randomness
from a mistake.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForAudioClassification,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

CLASSES = 3
VOCABULARY = 64
PADDING, END = 1, 2
"""Token numbers; ordinary tokens start at 3."""

Inputs = Callable[[int, int], dict[str, Tensor]]
"""(rows, seed) to the arguments of ``model.forward``, labels not included."""


@dataclass(frozen=True)
class Backbone:
    """One row of the table."""

    name: str
    """``config.model_type``."""
    kind: Any
    """The Auto class of transformers that builds it."""
    options: Mapping[str, Any]
    """What its config says otherwise than by default."""
    inputs: Inputs

    def build(self) -> PreTrainedModel:
        """The same weights at every call, in evaluation mode; the global random state is left alone."""
        config = AutoConfig.for_model(self.name, num_labels=CLASSES, **self.options)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model: PreTrainedModel = self.kind.from_config(config).eval()
        return model

    def __repr__(self) -> str:
        return self.name


def text_inputs(rows: int, seed: int) -> dict[str, Tensor]:
    """Rows of 4 to 9 tokens, padded to 9; the last real token of each is its only END."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(4, 10, (rows, 1), generator=generator)
    lengths[0] = 9
    tokens = torch.randint(3, VOCABULARY, (rows, 9), generator=generator)
    positions = torch.arange(9).expand(rows, 9)
    tokens[positions == lengths - 1] = END
    tokens[positions >= lengths] = PADDING
    return {"input_ids": tokens, "attention_mask": (positions < lengths).long()}


def _noise(name: str, *shape: int) -> Inputs:
    """An argument of this name with rows of this shape, full of standard normal numbers."""

    def inputs(rows: int, seed: int) -> dict[str, Tensor]:
        return {name: torch.randn(rows, *shape, generator=torch.Generator().manual_seed(seed))}

    return inputs


def _text(name: str, **options: Any) -> Backbone:
    common = {"vocab_size": VOCABULARY, "pad_token_id": PADDING, "bos_token_id": 0, "eos_token_id": END}
    return Backbone(name, AutoModelForSequenceClassification, common | options, text_inputs)


def _image(name: str, size: int, **options: Any) -> Backbone:
    return Backbone(name, AutoModelForImageClassification, options, _noise("pixel_values", 3, size, size))


def _audio(name: str, inputs: Inputs, **options: Any) -> Backbone:
    return Backbone(name, AutoModelForAudioClassification, options, inputs)


_NARROW = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 48}
_SHORT = {"max_position_embeddings": 32}
_GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2, "attention_dropout": 0.1}
_DROPPING = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
_STAGES = {"hidden_sizes": [16, 32], "depths": [1, 2]}
_HEARS = {
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 16,
    "layerdrop": 0.0,
    "apply_spec_augment": False,
}

BACKBONES = (
    _text("bert", **_NARROW, **_SHORT),
    _text("roberta", **_NARROW, **_SHORT),
    _text("distilbert", dim=32, n_layers=3, n_heads=2, hidden_dim=48, **_SHORT),
    _text(
        "deberta-v2",
        **_NARROW,
        **_SHORT,
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        position_biased_input=False,
        conv_kernel_size=3,
        pooler_dropout=0.1,
    ),
    _text(
        "modernbert",
        **_NARROW | {"num_hidden_layers": 4},
        **_SHORT,
        local_attention=4,
        attention_dropout=0.1,
        embedding_dropout=0.1,
        mlp_dropout=0.1,
        classifier_dropout=0.1,
        cls_token_id=0,
        sep_token_id=END,
    ),
    _text("gpt2", n_embd=32, n_layer=3, n_head=2, n_positions=32),
    _text("llama", **_NARROW | _GROUPED, **_SHORT),
    _text("qwen2", **_NARROW | _GROUPED, **_SHORT),
    _text(
        "t5",
        d_model=32,
        d_kv=16,
        d_ff=48,
        num_layers=2,
        num_decoder_layers=2,
        num_heads=2,
        classifier_dropout=0.1,
        decoder_start_token_id=PADDING,
    ),
    _text(
        "bart",
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        attention_dropout=0.1,
        activation_dropout=0.1,
        classifier_dropout=0.1,
        decoder_start_token_id=END,
        forced_eos_token_id=None,
        **_SHORT,
    ),
    _image("vit", 16, image_size=16, patch_size=8, **_NARROW, **_DROPPING),
    _image("resnet", 32, embedding_size=16, layer_type="basic", **_STAGES),
    _image("convnext", 16, num_stages=2, patch_size=4, **_STAGES),
    _image(
        "swin",
        16,
        image_size=16,
        patch_size=2,
        embed_dim=16,
        depths=[1, 2],
        num_heads=[2, 4],
        window_size=4,
        drop_path_rate=0.0,
        **_DROPPING,
    ),
    _audio("wav2vec2", _noise("input_values", 400), **_NARROW, **_HEARS),
    # Its attention reads the weights of its layers and never calls them.
    _audio("wavlm", _noise("input_values", 400), **_NARROW, **_HEARS, num_buckets=8, max_bucket_distance=16),
    _audio(
        "whisper",
        _noise("input_features", 8, 32),
        vocab_size=VOCABULARY,
        d_model=32,
        encoder_layers=3,
        encoder_attention_heads=2,
        encoder_ffn_dim=48,
        decoder_layers=1,
        decoder_attention_heads=2,
        decoder_ffn_dim=48,
        num_mel_bins=8,
        max_source_positions=16,
        classifier_proj_size=16,
        dropout=0.1,
        attention_dropout=0.1,
        activation_dropout=0.1,
        pad_token_id=PADDING,
        bos_token_id=0,
        eos_token_id=END,
        decoder_start_token_id=END,
    ),
    _audio(
        "audio-spectrogram-transformer",
        _noise("input_values", 24, 16),
        **_NARROW,
        **_DROPPING,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        max_length=24,
        num_mel_bins=16,
    ),
)
