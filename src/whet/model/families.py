"""How families of models name their layers."""

# Patterns of names below the base model, in execution order. Every match of a pattern is a block of its own; a star
# stands for all children of a container in turn, and patterns that are equal up to their first star take turns (stage
# by stage). "+name" joins the block before it, or is the final norm after the last block; "name+" joins the block
# after it. Names that a model lacks are passed over, so one row serves all variants of a family.
_ENCODER = ("encoder.layer.*",)
_DECODER = ("layers.*", "+norm")
_GPT = ("h.*", "+ln_f")
_T5 = ("encoder.block.*", "+encoder.final_layer_norm", "decoder.block.*", "+decoder.final_layer_norm")
_BART = ("encoder.layers.*", "+encoder.layer_norm", "decoder.layers.*", "+decoder.layer_norm")
_VISION = ("encoder.layer.*", "layers.*", "+layernorm")
_CLIP = ("vision_model.encoder.layers.*", "+vision_model.post_layernorm")
_RESIDUAL = ("encoder.stages.*.layers.*",)
_CONVNEXT = ("encoder.stages.*.downsampling_layer.*+", "encoder.stages.*.layers.*", "+layernorm")
_SWIN = ("encoder.layers.*.blocks.*", "encoder.layers.*.downsample+", "+layernorm")
_SEGFORMER = ("stages.*.patch_embeddings+", "stages.*.blocks.*", "+stages.*.layer_norm")
_SPEECH = ("encoder.layers.*", "+adapter")

# DeBERTa's convolution runs once, right after its first layer.
_DEBERTA = ("encoder.layer.0", "+encoder.conv", "encoder.layer.*")

PATTERNS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "electra", "mpnet", "ernie"), _ENCODER),
    "distilbert": ("transformer.layer.*",),
    "albert": ("encoder.albert_layer_groups.*",),
    **dict.fromkeys(("deberta", "deberta-v2"), _DEBERTA),
    "modernbert": ("layers.*", "+final_norm"),
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "falcon", "bloom"), _GPT),
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "phi3"), _DECODER),
    **dict.fromkeys(("gemma3_text", "smollm3", "olmo", "olmo2", "granite", "starcoder2"), _DECODER),
    "phi": ("layers.*", "+final_layernorm"),
    "gpt_neox": ("layers.*", "+final_layer_norm"),
    "opt": ("decoder.layers.*", "+decoder.final_layer_norm", "+decoder.project_out"),
    **dict.fromkeys(("t5", "mt5", "umt5"), _T5),
    **dict.fromkeys(("bart", "mbart", "pegasus", "marian", "m2m_100", "blenderbot", "whisper"), _BART),
    **dict.fromkeys(("vit", "deit", "beit", "dinov2", "data2vec-vision", "vit_msn"), _VISION),
    "audio-spectrogram-transformer": _VISION,
    **dict.fromkeys(("clip", "clip_vision_model", "siglip", "siglip_vision_model"), _CLIP),
    **dict.fromkeys(("resnet", "regnet"), _RESIDUAL),
    **dict.fromkeys(("convnext", "convnextv2"), _CONVNEXT),
    **dict.fromkeys(("swin", "swinv2"), _SWIN),
    "segformer": _SEGFORMER,
    **dict.fromkeys(("mobilenet_v1", "mobilenet_v2"), ("layer.*", "+conv_1x1")),
    "efficientnet": ("encoder.blocks.*", "+encoder.top_conv", "+encoder.top_bn"),
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm", "unispeech-sat", "wav2vec2-bert"), _SPEECH),
}

NOT_CALLED: dict[str, tuple[str, ...]] = {"wavlm": ("q_proj", "k_proj", "v_proj", "out_proj")}
"""Linear layers, by the ends of their names, whose weights the attention of a family reads without calling them: what
stands around such a layer, or keeps its weight otherwise, has no part in what is computed."""
