"""An encoder and a decoder that were pre-trained apart, joined: the decoder gets a fresh cross-attention.

Rothe, Narayan and Severyn 2020, "Leveraging Pre-trained Checkpoints for Sequence Generation Tasks" (arXiv 1907.12461).
"""

from __future__ import annotations

import torch
from torch import nn
from transformers import AutoConfig, EncoderDecoderConfig, EncoderDecoderModel

from whet.core import Loaded, Quantisation
from whet.errors import ModelError
from whet.model.files import model_problems
from whet.model.load import read
from whet.model.locate import locate, opening, refuse
from whet.model.processors import open_tokenizer
from whet.model.tokenizer_pair import TokenizerPair


def load_joined(name: str | None, decoder: str, quantisation: Quantisation | None = None) -> Loaded:
    """An encoder and a decoder by their names as one model, with both tokenizers; raises ModelError.

    What no weight filled, the cross-attention above all, is drawn from torch's present seed and listed in ``fresh``.
    """
    if quantisation is not None:
        raise ModelError("task.decoder: a joined model is saved as a whole, not in 4 bits; choose method 'full'")
    reader, folder, source = locate(name, None)
    writer, other, _ = locate(decoder, None)
    refuse(reader, model_problems(folder, "Encoder"))
    refuse(writer, model_problems(other, "Decoder"))
    with opening(reader):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with opening(writer):
        config_of_writer = AutoConfig.from_pretrained(other, trust_remote_code=False)
    config_of_writer.is_decoder, config_of_writer.add_cross_attention = True, True
    encoder, unfilled = read(reader, folder, config, "Encoder")
    written, unfilled_there = read(writer, other, config_of_writer, "Decoder")
    source_tokens = open_tokenizer(reader, folder, encoder)
    target_tokens = open_tokenizer(writer, other, written)
    start = next((i for i in (target_tokens.bos_token_id, target_tokens.cls_token_id) if i is not None), None)
    end = next((i for i in (target_tokens.eos_token_id, target_tokens.sep_token_id) if i is not None), None)
    if end is None:
        raise ModelError(f"model '{writer}': its tokenizer has no token that ends a text; add 'eos_token'")
    joined = EncoderDecoderConfig.from_encoder_decoder_configs(
        encoder.config,
        written.config,
        decoder_start_token_id=end if start is None else start,
        eos_token_id=end,
        pad_token_id=target_tokens.pad_token_id,
        tie_word_embeddings=False,
    )
    model = EncoderDecoderModel(config=joined, encoder=encoder, decoder=written)
    drawn = {f"encoder.{parameter}" for parameter in unfilled} | {f"decoder.{one}" for one in unfilled_there}
    fresh = tuple(n for n, _ in model.named_parameters() if n in drawn or n.startswith("enc_to_dec_proj."))
    nn.Module.to(model, torch.float32)
    return Loaded(model, TokenizerPair(source_tokens, target_tokens), reader, source, fresh)
