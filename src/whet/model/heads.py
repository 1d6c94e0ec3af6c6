"""The kinds of heads that a pre-trained body can have, and which families of models transformers offers each for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from transformers import (
    AutoModel,
    AutoModelForAudioClassification,
    AutoModelForCausalLM,
    AutoModelForCTC,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForSpeechSeq2Seq,
    AutoModelForTokenClassification,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_CTC_MAPPING_NAMES,
    MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES,
)

Kind: TypeAlias = Literal[
    "SequenceClassification",
    "TokenClassification",
    "CausalLM",
    "Seq2SeqLM",
    "Encoder",
    "Decoder",
    "ImageClassification",
    "AudioClassification",
    "PatchClassification",
    "CTC",
    "SpeechSeq2Seq",
]
"""The ending of the class of transformers that builds the model, as in ``AutoModelForCausalLM``; or one of two models
that are to be joined; a model of patches is one for pictures that hears."""

DECODERS = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie", "gpt2"})
"""Families that can be the decoder of another family's encoder."""

Reads: TypeAlias = Literal["texts", "pictures", "sound", "speech"]


@dataclass(frozen=True)
class Head:
    """A kind of head."""

    builder: Any
    """The class of transformers that builds any family with it."""
    families: frozenset[str]
    """``model_type`` of the families that can have it."""
    purpose: str
    """What a model with it does, as in "cannot classify texts"."""
    way_out: str
    """What to choose instead of a family that cannot."""
    reads: Reads
    """What it reads; of speech it also writes."""
    has_labels: bool
    """Whether the task says how many numbers it answers with; a vocabulary is the model's own."""


_OF_FRAMES = frozenset({"wav2vec2-bert"})
"""Families whose spectrograms are of a kind of their own."""

HEADS: Mapping[Kind, Head] = {
    "SequenceClassification": Head(
        AutoModelForSequenceClassification,
        frozenset(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
        "classify texts",
        "choose a model for text",
        "texts",
        has_labels=True,
    ),
    "CausalLM": Head(
        AutoModelForCausalLM,
        # Encoders can be built as decoders in name only: they were never trained to write.
        frozenset(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - frozenset(MODEL_FOR_MASKED_LM_MAPPING_NAMES),
        "continue texts",
        "choose a decoder, such as one of GPT-2, Llama, Qwen, Gemma or SmolLM",
        "texts",
        has_labels=False,
    ),
    "ImageClassification": Head(
        AutoModelForImageClassification,
        frozenset(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
        "classify pictures",
        "choose a model for pictures, such as one of ViT, ResNet, ConvNeXt, Swin or MobileNetV2",
        "pictures",
        has_labels=True,
    ),
    "TokenClassification": Head(
        AutoModelForTokenClassification,
        frozenset(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES),
        "tag the tokens of texts",
        "choose an encoder, such as BERT, RoBERTa or DeBERTa",
        "texts",
        has_labels=True,
    ),
    "Encoder": Head(
        AutoModel,
        frozenset(MODEL_FOR_MASKED_LM_MAPPING_NAMES) | frozenset(MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES),
        "read texts for a decoder",
        "choose an encoder, such as BERT or RoBERTa",
        "texts",
        has_labels=False,
    ),
    "Decoder": Head(
        AutoModelForCausalLM,
        DECODERS,
        "write what an encoder has read, since it has no place for a cross-attention",
        f"choose one of {', '.join(sorted(DECODERS))}",
        "texts",
        has_labels=False,
    ),
    "Seq2SeqLM": Head(
        AutoModelForSeq2SeqLM,
        frozenset(MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        "turn texts into texts",
        "choose an encoder-decoder, such as T5, BART, Marian or Pegasus, or join this model with a decoder: "
        "--set task.decoder=NAME",
        "texts",
        has_labels=False,
    ),
    "AudioClassification": Head(
        AutoModelForAudioClassification,
        frozenset(MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES) - _OF_FRAMES,
        "classify sounds",
        "choose one of Wav2Vec2, HuBERT, WavLM, Whisper and AST",
        "sound",
        has_labels=True,
    ),
    "PatchClassification": Head(
        AutoModelForImageClassification,
        frozenset(MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
        "classify patches of sound",
        "choose one of Wav2Vec2, HuBERT, WavLM, Whisper and AST",
        "sound",
        has_labels=True,
    ),
    "CTC": Head(
        AutoModelForCTC,
        frozenset(MODEL_FOR_CTC_MAPPING_NAMES) & frozenset(MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES) - _OF_FRAMES,
        "write what is said",
        "choose one of Wav2Vec2, HuBERT, WavLM and Whisper",
        "speech",
        has_labels=False,
    ),
    "SpeechSeq2Seq": Head(
        AutoModelForSpeechSeq2Seq,
        frozenset({"whisper"}),
        "write what is said",
        "choose one of Wav2Vec2, HuBERT, WavLM and Whisper",
        "speech",
        has_labels=False,
    ),
}
