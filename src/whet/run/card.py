"""The model card: what the model is, how it was made, how well it does, how to load it without whet."""

from collections.abc import Mapping
from typing import Any

from whet.core import Scores

CLASSES = {
    "causal_lm": "CausalLM",
    "text_classification": "SequenceClassification",
}

OWN_KINDS = ("adapter", "p_tuning", "prefix", "prompt")
"""Methods whose adapters peft does not know by itself, on some models at least."""


def card(
    values: Mapping[str, Any],
    metrics: Mapping[str, Any],
    data: Mapping[str, Any],
    *,
    adapter: bool,
    quantised: bool = False,
) -> str:
    """README.md of a run, from the resolved recipe, the metrics and the facts about the data."""
    method, task = values["method"]["name"], values["task"]
    base = values["model"] or "all-MiniLM-L6-v2 (embedded)"
    lines = [
        "---",
        "library_name: " + ("peft" if adapter else "transformers"),
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
        f"Text from {_names(data['columns']['text'])}{_answers(data['columns']['label'])}.",
        "",
        *(f"- {name}: {split['rows']:,} rows from {split['source']}" for name, split in data["splits"].items()),
        "",
    ]
    if task.get("labels"):
        lines += ["## Labels", "", ", ".join(f"{i} = {label}" for i, label in enumerate(task["labels"])), ""]
    lines += ["## Load it", "", "```python", *_loading(values, adapter, quantised), "```", ""]
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


def _loading(values: Mapping[str, Any], adapter: bool, quantised: bool) -> list[str]:
    kind = CLASSES[values["task"]["name"]]
    if not adapter:
        return [
            f"from transformers import AutoModelFor{kind}, AutoTokenizer",
            f'model = AutoModelFor{kind}.from_pretrained("model")',
            'tokenizer = AutoTokenizer.from_pretrained("model")',
        ]
    classes = len(values["task"].get("labels") or [1])
    width = f", num_labels={classes}" if kind.endswith("Classification") else ""
    if quantised:
        return [
            "import json",
            f"from peft import AutoPeftModelFor{kind}",
            "from transformers import AutoTokenizer, BitsAndBytesConfig",
            'with open("model/quantization_config.json") as file:',
            "    config = BitsAndBytesConfig.from_dict(json.load(file))",
            f"model = AutoPeftModelFor{kind}.from_pretrained(",
            f'    "model"{width}, quantization_config=config, dtype="float32"',
            ")",
            'tokenizer = AutoTokenizer.from_pretrained("model")',
        ]
    return [
        *(["import whet  # tells peft of this kind of adapter"] if values["method"]["name"] in OWN_KINDS else []),
        f"from peft import AutoPeftModelFor{kind}",
        "from transformers import AutoTokenizer",
        f'model = AutoPeftModelFor{kind}.from_pretrained("model"{width})',
        'tokenizer = AutoTokenizer.from_pretrained("model")',
    ]


def _answers(names: list[str]) -> str:
    return f", answer from {_names(names)}" if names else ", all of which is learned"


def _names(names: list[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
