"""One run of transformers.Trainer; called by the benchmarks, prints scores and times as JSON.

    python bench/trainer_peer.py '{"files": {"train": ..., "validation": ..., "test": ...}, "rate": 5e-5, "seed": 0}'

The other keys are those of ``Setup``. Both ways of writing it restore the best epoch at the end, as whet does.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import DatasetDict, load_dataset
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    set_seed,
)

from whet.methods.lora import Lora
from whet.model.locate import embedded_text_model


@dataclass(frozen=True)
class Setup:
    """What a run is told."""

    files: dict[str, str]
    rate: float
    seed: int
    way: str = "tuned"
    """``documented``: the text classification guide of transformers. ``tuned``: as an expert writes it."""
    method: str = "full"
    blocks: int = 2
    """Blocks that train with method last_blocks."""
    model: str | None = None
    """A folder; the model that whet embeds if not named."""
    epochs: int = 3
    batch_size: int = 16
    max_length: int = 512
    bf16: bool = False
    """Lets the tuned way compute in bf16."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """TrainingArguments laid over those of the way."""


def main() -> None:
    print(json.dumps(run(Setup(**json.loads(sys.argv[1])))))


def run(setup: Setup) -> dict[str, float]:
    """Validation and test accuracy, and the seconds from the rows in memory to the test scores."""
    set_seed(setup.seed)
    # A text such as "null" is a text.
    rows = load_dataset("csv", data_files=setup.files, keep_in_memory=setup.way == "tuned", keep_default_na=False)
    started = time.perf_counter()
    labels = sorted(map(str, set(rows["train"]["label"])))
    model_name = setup.model or str(embedded_text_model())
    tokenizer = AutoTokenizer.from_pretrained(model_name)

    def encode(batch: dict[str, list[object]]) -> dict[str, object]:
        texts = [str(text) for text in batch["text"]]
        encoded = tokenizer(texts, truncation=True, max_length=setup.max_length)
        # With this column the sampler need not count the tokens itself.
        lengths = {"length": [len(row) for row in encoded["input_ids"]]} if setup.way == "tuned" else {}
        return {**encoded, **lengths, "labels": [labels.index(str(label)) for label in batch["label"]]}

    encoded: DatasetDict = rows.map(encode, batched=True, remove_columns=rows["train"].column_names)
    model = prepare(AutoModelForSequenceClassification.from_pretrained(model_name, num_labels=len(labels)), setup)

    def accuracy(prediction: EvalPrediction) -> dict[str, float]:
        return {"accuracy": float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(output_dir=folder, **arguments(setup)),
            train_dataset=encoded["train"],
            eval_dataset=encoded["validation"],
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=accuracy,
        )
        trained = trainer.train().metrics["train_runtime"]
        evaluations = [entry for entry in trainer.state.log_history if "eval_accuracy" in entry]
        best = next(entry for entry in evaluations if entry["step"] == trainer.state.best_global_step)
        test = trainer.evaluate(encoded["test"])["eval_accuracy"]
        worked = time.perf_counter() - started
    evaluated = sum(entry["eval_runtime"] for entry in evaluations)
    return {
        "validation": best["eval_accuracy"],
        "test": test,
        "work_seconds": worked,
        "step_seconds": trained - evaluated,
        "validation_seconds": evaluated,
        "trainable": sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        **{f"{name}_rows": len(rows[name]) for name in setup.files},
    }


def prepare(model: nn.Module, setup: Setup) -> nn.Module:
    """A BERT that trains the same parameters as whet's method of that name."""
    if setup.method == "lora":
        told = Lora()
        return get_peft_model(
            model,
            LoraConfig(
                task_type="SEQ_CLS",
                r=told.rank,
                lora_alpha=told.alpha,  # type: ignore[arg-type]  # peft computes alpha / r and takes any number
                lora_dropout=told.dropout,
                target_modules=r".*encoder\.layer\.\d+\..*(query|key|value|dense)",
                modules_to_save=["pooler", "classifier"],
            ),
        )
    if setup.method == "full":
        return model
    assert isinstance(model, BertForSequenceClassification)
    frozen: list[nn.Module] = [model.bert.embeddings]
    if setup.method == "head":
        frozen.append(model.bert.encoder)
    elif setup.method == "last_blocks":
        frozen += list(model.bert.encoder.layer[: -setup.blocks])
    else:
        raise SystemExit(f"method '{setup.method}': the peer knows full, head, last_blocks and lora")
    for part in frozen:
        for parameter in part.parameters():
            parameter.requires_grad = False
    return model


def arguments(setup: Setup) -> dict[str, Any]:
    """The TrainingArguments of a way."""
    told: dict[str, Any] = {
        "num_train_epochs": setup.epochs,
        "per_device_train_batch_size": setup.batch_size,
        "learning_rate": setup.rate,
        "weight_decay": 0.01,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "load_best_model_at_end": True,
        "seed": setup.seed,
    }
    if setup.method == "lora":
        # The Trainer cannot see through peft's wrapper which column holds the labels.
        told["label_names"] = ["labels"]
    if setup.way == "documented":
        told["per_device_eval_batch_size"] = setup.batch_size
    else:
        told |= {
            "per_device_eval_batch_size": 64,
            "lr_scheduler_type": "linear",
            "warmup_steps": 0.1,
            "optim": "adamw_torch_fused",
            "train_sampling_strategy": "group_by_length",
            "bf16": setup.bf16,
            "save_only_model": True,
            "metric_for_best_model": "accuracy",
            "use_cpu": True,
            "report_to": [],
            "disable_tqdm": True,
        }
    return told | setup.arguments


if __name__ == "__main__":
    main()
