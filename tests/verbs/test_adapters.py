"""Several adapters on one base: each answers as by itself, and two become one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from typer.testing import CliRunner

import whet
from tests.conftest import sentences, write_csv
from whet.cli.app import app
from whet.errors import ModelError, RecipeError, RunFolderError

TEXTS = ["the film was kind", "so dull", "a very bright day"]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4},
    "ia3": {},
    "adapter": {"bottleneck": 6},
    "prompt": {"length": 3},
    "prefix": {"length": 3, "bottleneck": 8},
    "p_tuning": {"length": 3},
}


def trained(out: Path, model: Path, method: str, *, seed: int = 0, labels: str = "label", **options: Any) -> Path:
    data = out.parent / "rows.csv"
    if not data.exists():
        cells = [[text, label, f"{label}-{i % 3}"] for i, (text, label) in enumerate(sentences(60))]
        write_csv(data, ["text", "label", "other"], cells)
    whet.train(
        data,
        model=str(model),
        method={"name": method, **KINDS[method], **options},
        data={"text": "text", "label": labels},
        training={"steps": 6, "learning_rate": 0.02},
        seed=seed,
        out=out,
        quiet=True,
    )
    return out


@pytest.mark.parametrize("method", KINDS)
def test_each_adapter_answers_as_by_itself_whichever_was_asked_before(
    method: str, tiny_model: Path, tmp_path: Path
) -> None:
    # The second answers another question, with more classes.
    first = trained(tmp_path / "first", tiny_model, method)
    second = trained(tmp_path / "second", tiny_model, method, seed=1, labels="other")
    alone = {path.name: whet.Run(path).predict(TEXTS) for path in (first, second)}
    adapters = whet.Adapters(first, second)
    assert adapters.names == ["first", "second"]
    for name in ("first", "second", "first"):
        answers = adapters.predict(name, TEXTS)
        for answer, expected in zip(answers, alone[name], strict=True):
            assert answer.scores == pytest.approx(expected.scores, abs=1e-6)
    assert adapters.evaluate("first", tmp_path / "rows.csv").scores == pytest.approx(
        whet.Run(first).evaluate(tmp_path / "rows.csv").scores, abs=1e-5
    )


def test_strangers_are_refused_with_the_reason(tiny_model: Path, finished_run: Path, tmp_path: Path) -> None:
    lora = trained(tmp_path / "lora", tiny_model, "lora")
    ia3 = trained(tmp_path / "ia3", tiny_model, "ia3")
    other = trained(tmp_path / "other", tiny_model, "lora", labels="other")
    with pytest.raises(RunFolderError, match="holds a whole model and no adapter; open it by itself"):
        whet.Adapters(lora, finished_run)
    with pytest.raises(ModelError, match="kind IA3, the open one of LORA; adapters on one base have to be of one kind"):
        whet.Adapters(lora, ia3)
    with pytest.raises(RunFolderError, match="no adapter is called 'lorra'; did you mean 'lora'"):
        whet.Adapters(lora).predict("lorra", TEXTS)
    with pytest.raises(RecipeError, match="answer different questions"):
        whet.combine([lora, other], tmp_path / "mix")
    with pytest.raises(ModelError, match="differ in peft_type"):
        whet.combine([lora, ia3], tmp_path / "mix")
    with pytest.raises(RecipeError, match=r"0.7, 0.7 do not make 1 for 2 runs"):
        whet.combine([lora, lora], tmp_path / "mix", [0.7, 0.7])
    with pytest.raises(RunFolderError, match="nothing to combine"):
        whet.combine([lora], tmp_path / "mix")
    assert not (tmp_path / "mix").exists()


def test_updates_of_lora_are_added_exactly_whatever_their_ranks(tiny_model: Path, tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / "one", tiny_model, "lora", rank=4),
        trained(tmp_path / "two", tiny_model, "lora", seed=1, rank=2, alpha=8.0, scaling="alpha/sqrt(rank)"),
    ]
    mixed = whet.combine(runs, tmp_path / "mix", [0.7, 0.3])
    assert 0 <= mixed.test["accuracy"] <= 1

    def update(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
        base = AutoModelForSequenceClassification.from_pretrained(tiny_model, num_labels=2)
        before = base.get_parameter("bert.encoder.layer.0.attention.self.query.weight").detach().clone()
        merged: Any = PeftModel.from_pretrained(base, str(folder / "model")).merge_and_unload()
        after = merged.get_parameter("bert.encoder.layer.0.attention.self.query.weight").detach()
        return after - before, merged.classifier.weight.detach()

    (one, head_one), (two, head_two), (both, head) = (update(path) for path in (*runs, mixed.folder))
    assert torch.allclose(both, 0.7 * one + 0.3 * two, atol=1e-6)
    assert torch.allclose(head, 0.7 * head_one + 0.3 * head_two, atol=1e-6)
    assert not torch.allclose(one, two, atol=1e-4)
    assert AutoTokenizer.from_pretrained(mixed.folder / "model") is not None


@pytest.mark.parametrize("method", ["ia3", "adapter", "prompt", "p_tuning"])
def test_an_adapter_combined_with_itself_is_itself(method: str, tiny_model: Path, tmp_path: Path) -> None:
    run = trained(tmp_path / "one", tiny_model, method)
    mixed = whet.combine([run, run], tmp_path / "mix")
    for answer, expected in zip(mixed.predict(TEXTS), whet.Run(run).predict(TEXTS), strict=True):
        assert answer.scores == pytest.approx(expected.scores, abs=1e-6)


def test_the_command_line_combines_and_tells_the_scores(tiny_model: Path, tmp_path: Path) -> None:
    runs = [trained(tmp_path / name, tiny_model, "lora", seed=seed) for seed, name in enumerate(("one", "two"))]
    out = tmp_path / "mix"
    result = CliRunner().invoke(app, ["combine", *map(str, runs), "--weights", "0.6,0.4", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "accuracy" in result.output
    card = (out / "README.md").read_text()
    assert "a combination: 0.6 of `one`, 0.4 of `two`" in card
    assert whet.Run(out).metrics["combined"] == {str(runs[0]): 0.6, str(runs[1]): 0.4}
    wrong = CliRunner().invoke(app, ["combine", *map(str, runs), "--weights", "x", "--out", str(out)])
    assert isinstance(wrong.exception, RecipeError)
