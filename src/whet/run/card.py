"""The model card: what the model is, how it was made, how well it does, how to load it without whet."""

import json
from collections.abc import Mapping
from typing import Any

from whet.core import Scores

CLASSES = {
    "audio_classification": "AudioClassification",
    "causal_lm": "CausalLM",
    "image_classification": "ImageClassification",
    "seq2seq": "Seq2SeqLM",
    "text_classification": "SequenceClassification",
    "token_classification": "TokenClassification",
}

DECODERS = {"ctc": "CTC", "seq2seq": "SpeechSeq2Seq"}
"""Kinds of models that write what is said, by how they do so."""

READERS = {
    "audio_classification": ("extractor", "AutoFeatureExtractor"),
    "image_classification": ("processor", "AutoImageProcessor"),
    "speech_recognition": ("processor", "AutoProcessor"),
}
"""Tasks that read something other than texts: what turns it into numbers, and what opens that."""

READ = {"audio_classification": "Sounds", "image_classification": "Pictures", "speech_recognition": "Sounds"}
"""What such a task reads."""

KNOWN_TO_PEFT = ("CausalLM", "Seq2SeqLM", "SequenceClassification", "TokenClassification")
"""Kinds of models for which peft has a class that opens base and adapter at once."""

OWN_KINDS = ("adapter", "p_tuning", "prefix", "prompt")
"""Methods whose adapters peft does not know by itself, on some models at least."""


def card(
    values: Mapping[str, Any],
    metrics: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    adapter: bool,
    quantised: bool = False,
    patches: bool = False,
) -> str:
    """README.md of a run, from the resolved recipe, the metrics and the facts about the data.

    With ``patches`` a model for pictures hears, through a front end that lies beside it.
    """
    method, task = values["method"]["name"], values["task"]
    base = values["model"] or "all-MiniLM-L6-v2 (embedded)"
    lines = [
        "---",
        "library_name: " + ("peft" if adapter else "whet" if _layered(values) else "transformers"),
        "tags: [whet, " + task["name"].replace("_", "-") + "]",
        "---",
        "",
        f"# {task['name'].replace('_', ' ').capitalize()} with {method}",
        "",
        f"Base model: {base}. Method: {method}. "
        f"{metrics['trainable_parameters']:,} of {metrics['total_parameters']:,} parameters trained.",
        "",
        "## Scores",
        "",
        *_table(metrics),
        "",
        "## Data",
        "",
        f"{READ.get(task['name'], 'Text')} from {_names(data['columns']['text'])}{_answers(data['columns']['label'])}.",
        "",
        *(f"- {name}: {split['rows']:,} rows from {split['source']}" for name, split in data["splits"].items()),
        "",
    ]
    if task.get("labels"):
        lines += ["## Labels", "", ", ".join(f"{i} = {label}" for i, label in enumerate(task["labels"])), ""]
    lines += ["## Load it", "", "```python", *_loading(values, adapter, quantised, patches), "```", ""]
    lines += ["The recipe that made it, with the reason of every setting, is in `recipe.yaml`.", ""]
    return "\n".join(lines)


def _table(metrics: Mapping[str, Any]) -> list[str]:
    columns: dict[str, Scores] = {"validation": metrics["validation"], "test": metrics["test"]}
    columns |= {f"{name} (test)": scores for name, scores in metrics["baselines"].items()}
    names = list(metrics["test"] or metrics["validation"])
    rows = [
        f"| {name} | "
        + " | ".join(f"{scores[name]:.4f}" if name in scores else "" for scores in columns.values())
        + " |"
        for name in names
    ]
    return [f"| metric | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *rows]


def _loading(values: Mapping[str, Any], adapter: bool, quantised: bool, patches: bool) -> list[str]:
    """What a reader types to open the model and, where texts are heard, to write one down."""
    task = values["task"]
    kind = "ImageClassification" if patches else CLASSES.get(task["name"]) or DECODERS[task["decoding"]]
    lines = _with_layers(values, kind) if _layered(values) else _opening(values, kind, adapter, quantised)
    if patches:
        old = 'extractor = AutoFeatureExtractor.from_pretrained("model")'
        lines = [line.replace("AutoFeatureExtractor, ", "").replace(", AutoFeatureExtractor", "") for line in lines]
        lines = [line for line in lines if line != old]
        lines += ["from pathlib import Path", "from whet.model.log_mel import LogMel  # as frontend.json says"]
        lines += ['extractor = LogMel.open(Path("model"))  # (frames, mel bins); the model reads patches of them']
    if kind in DECODERS.values():
        lines += ["rate = processor.feature_extractor.sampling_rate"]
        lines += ['inputs = processor(wave, sampling_rate=rate, return_tensors="pt")']
    if kind == "CTC":
        lines += ["text = processor.batch_decode(model(**inputs).logits.argmax(-1))[0]"]
    elif kind == "SpeechSeq2Seq":
        lines += ["text = processor.batch_decode(model.generate(**inputs), skip_special_tokens=True)[0]"]
    return lines


def _opening(values: Mapping[str, Any], kind: str, adapter: bool, quantised: bool) -> list[str]:
    """Lines that open the model; with classes that peft knows in one line, else the base model first."""
    reader, opens = READERS.get(values["task"]["name"], ("tokenizer", "AutoTokenizer"))
    processor = f'{reader} = {opens}.from_pretrained("model")'
    if not adapter:
        names = sorted((f"AutoModelFor{kind}", opens))
        loading = [f'model = AutoModelFor{kind}.from_pretrained("model")']
        second = [f'target_{reader} = {opens}.from_pretrained("model/target_tokenizer")']
        loading += [processor, *(second if "decoder" in values["task"] else [])]
        return [f"from transformers import {', '.join(names)}", *loading]
    classes = len(values["task"].get("labels") or [1])
    width = f", num_labels={classes}" if kind.endswith("Classification") else ""
    if kind == "CTC":
        width = ", vocab_size=len(processor.tokenizer), pad_token_id=processor.tokenizer.pad_token_id"
    own = values["method"]["name"] in OWN_KINDS
    lines = ["import whet  # tells peft of this kind of adapter"] if own else []
    config = ', quantization_config=config, dtype="float32"' if quantised else ""
    names = [opens, *(["BitsAndBytesConfig"] if quantised else [])]
    if quantised:
        lines = ["import json"]
    if kind in KNOWN_TO_PEFT:
        lines += [f"from peft import AutoPeftModelFor{kind}", f"from transformers import {', '.join(names)}"]
        loading = [f'model = AutoPeftModelFor{kind}.from_pretrained("model"{width}{config})']
    else:
        names = sorted([*names, f"AutoModelFor{kind}"])
        lines += ["from peft import PeftModel", f"from transformers import {', '.join(names)}"]
        loading = [
            f"base = AutoModelFor{kind}.from_pretrained(",
            f"    {json.dumps(values['model'])}{width}, ignore_mismatched_sizes=True{config}",
            ")",
            'model = PeftModel.from_pretrained(base, "model")',
        ]
    if quantised:
        lines += ['with open("model/quantization_config.json") as file:']
        lines += ["    config = BitsAndBytesConfig.from_dict(json.load(file))"]
    return [*lines, processor, *loading] if kind == "CTC" else [*lines, *loading, processor]


def _layered(values: Mapping[str, Any]) -> bool:
    """Whether the head has layers of its own."""
    return bool((values.get("surgery") or {}).get("head"))


def _with_layers(values: Mapping[str, Any], kind: str) -> list[str]:
    """Lines that open a model whose head has layers of its own."""
    reader, opens = READERS.get(values["task"]["name"], ("tokenizer", "AutoTokenizer"))
    return [
        f"from transformers import {opens}",
        "from whet.model.layered import open_layered  # transformers alone has no model with such a head",
        f'model = open_layered("model", "{kind}")',
        f'{reader} = {opens}.from_pretrained("model")',
    ]


def _answers(names: list[str]) -> str:
    return f", answer from {_names(names)}" if names else ", all of which is learned"


def _names(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
