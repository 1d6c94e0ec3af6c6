"""One run of transformers.Trainer as an expert writes it; called by the benchmarks, prints its scores as JSON."""

import json
import sys
import tempfile

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    EvalPrediction,
    Trainer,
    TrainingArguments,
    set_seed,
)

from whet.model.load import embedded_text_model

EPOCHS, BATCH = 3, 16


def main() -> None:
    given = json.loads(sys.argv[1])
    set_seed(given["seed"])
    rows = load_dataset("csv", data_files=given["files"])
    labels = sorted(map(str, set(rows["train"]["label"])))
    model_name = str(embedded_text_model())
    tokenizer = AutoTokenizer.from_pretrained(model_name)

    def encode(batch: dict[str, list[object]]) -> dict[str, object]:
        encoded = tokenizer([str(text) for text in batch["text"]], truncation=True, max_length=512)
        return {**encoded, "labels": [labels.index(str(label)) for label in batch["label"]]}

    encoded = rows.map(encode, batched=True, remove_columns=rows["train"].column_names)
    model = AutoModelForSequenceClassification.from_pretrained(model_name, num_labels=len(labels))

    def accuracy(prediction: EvalPrediction) -> dict[str, float]:
        return {"accuracy": float((np.argmax(prediction.predictions, -1) == prediction.label_ids).mean())}

    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                num_train_epochs=EPOCHS,
                per_device_train_batch_size=BATCH,
                per_device_eval_batch_size=64,
                learning_rate=given["rate"],
                weight_decay=0.01,
                lr_scheduler_type="linear",
                warmup_steps=0.1,
                optim="adamw_torch_fused",
                train_sampling_strategy="group_by_length",
                eval_strategy="epoch",
                save_strategy="epoch",
                save_only_model=True,
                load_best_model_at_end=True,
                metric_for_best_model="accuracy",
                seed=given["seed"],
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
            ),
            train_dataset=encoded["train"],
            eval_dataset=encoded["validation"],
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer),
            compute_metrics=accuracy,
        )
        trainer.train()
        scores = {name: trainer.evaluate(encoded[name])["eval_accuracy"] for name in ("validation", "test")}
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
