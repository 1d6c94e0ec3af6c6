"""Pages: whole, by themselves, safe, in two languages, and fast."""

from __future__ import annotations

import ast
import json
import re
import string
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.report.folders import classified, compared, written
from whet import metrics
from whet.core import Finding
from whet.errors import RecipeError, RunFolderError
from whet.report import naming
from whet.report.words import Words
from whet.verbs.report import write_report

EMPTY = {"meta", "link", "img", "br"}
PACKAGE = Path(naming.__file__).parent


class Page(HTMLParser):
    """A page as a tree would be built of it: every element is closed, and what it refers to is known."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.headings = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if tag not in EMPTY:
            self.open.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), name
            if name == "id":
                self.ids.append(str(value))
            if name in ("src", "href"):
                self.links.append(str(value))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data
        if "figcaption" in self.open:
            self.headings += data


def page(run: Path, language: str = "en") -> Page:
    return Page(write_report(run, language=language).path.read_text(encoding="utf-8"))


def test_a_run_has_its_sections_and_needs_nothing_else(finished_run: Path, tmp_path: Path) -> None:
    found = Page(write_report(finished_run, out=tmp_path / "page.html").path.read_text(encoding="utf-8"))
    for section in ("verdict", "training", "scores", "classes", "calibration", "decisions", "data", "repeat"):
        assert section in found.ids
    assert len(set(found.ids)) == len(found.ids)
    assert all(link.startswith(("#", "data:")) for link in found.links)
    assert {"#verdict"} <= set(found.links)
    assert found.tags["h1"] == 1
    assert f"whet train {finished_run}/recipe.yaml" in found.text


def test_what_rows_hold_is_text(tmp_path: Path) -> None:
    evil = "</script><script>alert('{number}')</script><img src=x onerror=alert(1)>{{{{ 7 * 7 }}}}\x1b[31m\x00"
    labels = ["<b>bad</b>", 'good" onmouseover="x', "'><svg/onload=x>"]
    run = classified(tmp_path / "<i>run</i>", text=evil, labels=labels, right=0.3)
    text = write_report(run).path.read_text(encoding="utf-8")
    found = Page(text)
    assert found.tags["script"] == 1
    assert found.tags["img"] == 0
    assert "<script>alert('" in found.text
    assert "{{ 7 * 7 }}" in found.text
    assert "\x1b" not in text
    assert "\x00" not in text
    assert "onerror=alert(1)>" in found.text
    assert "default-src 'none'" in text


def test_findings_and_predictions_are_shown_where_there_are_any(tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    assert not {"findings", "planned"} & set(page(run).ids)
    finding = Finding("R001", "warning", "The learning rate is <high>.", "0.1 is 50 times 0.002", "--set a=b")
    (run / "findings.json").write_text(json.dumps({"findings": [vars(finding)]}))
    told = json.loads((run / "metrics.json").read_text())
    told["predicted"] = {"peak_memory_bytes": 770_000_000, "seconds": 10.0}
    (run / "metrics.json").write_text(json.dumps(told))
    found = page(run)
    assert {"findings", "planned"} <= set(found.ids)
    assert "The learning rate is <high>." in found.text
    assert "+10.0%" in found.text
    assert "-20.0%" in found.text


def test_problems_without_classes_have_no_empty_sections(tmp_path: Path) -> None:
    numbers: dict[str, list[Any]] = {
        "text": ["a", "b", "c"],
        "label": ["1.0", "2.0", "3.5"],
        "prediction": [1.1, 2.2, 2.0],
        "scores": [[]] * 3,
    }
    scores = metrics.regression(np.array([1.1, 2.2, 2.0]), np.array([1.0, 2.0, 3.5]))
    task = {"name": "text_classification", "problem": "regression"}
    kept: dict[str, Any] = {"task": task, "scores": scores, "baselines": {}, "labels": None, "metric": "spearman"}
    found = page(written(tmp_path / "numbers", numbers, **kept))
    assert {"cloud", "mistakes"} <= set(found.ids)
    assert not {"classes", "calibration", "samples"} & set(found.ids)

    tagged: dict[str, list[Any]] = {
        "text": [["Kim", "in", "Seoul"], ["no", "one"]],
        "tags": [["B-PER", "O", "B-LOC"], ["O", "O"]],
        "prediction": [["B-PER", "O", "B-ORG"], ["O", "O"]],
        "scores": [[], []],
    }
    names = ["O", "B-PER", "B-LOC", "B-ORG"]
    kept = {"scores": {"f1": 0.5, "token_accuracy": 0.8}, "baselines": {}, "labels": names, "metric": "f1"}
    found = page(written(tmp_path / "tags", tagged, task={"name": "token_classification"}, label="tags", **kept))
    assert {"classes", "mistakes"} <= set(found.ids)
    assert not {"calibration", "cloud", "samples"} & set(found.ids)
    assert "Kim in Seoul" in found.text

    asked: dict[str, list[Any]] = {
        "text": ["ein Haus", "<em>"],
        "label": ["a house", "x"],
        "prediction": ["a house", ""],
        "scores": [[], []],
    }
    kept = {
        "scores": {"bleu": 50.0, "loss": 1.0},
        "baselines": {"copy": {"bleu": 1.0}},
        "labels": None,
        "metric": "loss",
    }
    found = page(written(tmp_path / "texts", asked, task={"name": "seq2seq"}, **kept))
    assert "samples" in found.ids
    assert not {"calibration", "classes", "mistakes"} & set(found.ids)
    assert "(nothing)" in found.text


def test_a_run_without_predictions_or_events_is_still_told(tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    for name in ("predictions.parquet", "events.jsonl"):
        (run / name).unlink()
    found = page(run)
    assert {"verdict", "scores"} <= set(found.ids)
    assert not {"training", "classes", "mistakes"} & set(found.ids)


@pytest.mark.parametrize(
    ("right", "baseline", "tone", "headline"),
    [
        (0.95, 0.4, "good", "Better than every baseline, by more than noise"),
        (0.8, 0.79, "open", "Ahead of every baseline, but not by more than noise"),
        (0.7, 0.75, "open", "Not told apart from a baseline"),
        (0.3, 0.9, "bad", "Worse than a baseline, which needs no fine-tuning"),
    ],
)
def test_the_verdict_weighs_noise(tmp_path: Path, right: float, baseline: float, tone: str, headline: str) -> None:
    told = write_report(classified(tmp_path / "run", right=right, baseline=baseline, seed=2))
    assert (told.content.said.tone, told.verdict) == (tone, headline)


def test_several_runs_are_paired_on_the_same_rows(tmp_path: Path) -> None:
    runs = [classified(tmp_path / name, right=right, seed=1) for name, right in (("a", 0.95), ("b", 0.6), ("c", 0.94))]
    told = write_report(runs, out=tmp_path / "page.html")
    found = Page(told.path.read_text(encoding="utf-8"))
    assert {"board", "costs", "curves", "classes"} <= set(found.ids)
    assert told.verdict == "No winner: the best are inside each other's noise"
    assert any("c cannot be told apart" in sentence for sentence in told.sentences)
    clear = write_report(runs[:2], out=tmp_path / "page.html")
    assert clear.verdict == "a is the best, by more than noise"


def test_runs_on_more_and_more_rows_have_a_learning_curve(tmp_path: Path) -> None:
    runs = [classified(tmp_path / name, seed=1) for name in ("a", "b")]
    out = tmp_path / "page.html"
    assert "training rows" not in Page(write_report(runs, out=out).path.read_text(encoding="utf-8")).headings
    told = json.loads((runs[0] / "data.json").read_text())
    told["splits"]["train"]["rows"] = 60
    (runs[0] / "data.json").write_text(json.dumps(told))
    assert "training rows" in Page(write_report(runs, out=out).path.read_text(encoding="utf-8")).headings


def test_runs_on_other_rows_have_no_verdict(tmp_path: Path) -> None:
    runs = [classified(tmp_path / "a"), classified(tmp_path / "b", rows=90)]
    assert write_report(runs, out=tmp_path / "page.html").verdict == "No verdict: the rows are not the same"


def test_a_large_comparison_is_fast_and_small(tmp_path: Path) -> None:
    folder = compared(tmp_path / "compared")
    began = time.perf_counter()
    told = write_report(folder)
    took = time.perf_counter() - began
    assert took < 3
    assert told.path.stat().st_size < 5_000_000
    found = Page(told.path.read_text(encoding="utf-8"))
    assert {"board", "costs", "curves", "best"} <= set(found.ids)
    assert "behind by more than its standard error" in found.text
    assert "<b>failed</b>" in found.text


def test_folders_of_runs_may_be_gone(tmp_path: Path) -> None:
    import shutil

    folder = compared(tmp_path / "compared", count=3, seeds=1)
    shutil.rmtree(folder / "candidates")
    found = page(folder)
    assert "board" in found.ids
    assert "best" not in found.ids


def test_a_comparison_that_is_still_running_is_told_as_far_as_it_is(tmp_path: Path) -> None:
    folder = compared(tmp_path / "compared", count=3, seeds=1)
    values = json.loads((folder / "comparison.json").read_text())
    values["verdict"] = None
    values["candidates"][0]["attempts"][0] |= {"state": "running", "test": None}
    (folder / "comparison.json").write_text(json.dumps(values))
    told = write_report(folder)
    assert told.verdict == "No verdict yet"
    assert told.sentences == ["2 of 5 candidates came to the end."]
    assert "is running, step 400 of 400" in Page(told.path.read_text(encoding="utf-8")).text


def test_runs_without_a_metric_in_common_are_refused(tmp_path: Path) -> None:
    first = classified(tmp_path / "first")
    second = classified(tmp_path / "second")
    told = json.loads((second / "metrics.json").read_text())
    (second / "metrics.json").write_text(json.dumps({**told, "test": {"wer": 0.1}, "validation": {"wer": 0.1}}))
    with pytest.raises(RunFolderError, match="no metric in common"):
        write_report([first, second], out=tmp_path / "page.html")
    with pytest.raises(RunFolderError, match="named twice"):
        write_report([first, first], out=tmp_path / "page.html")


def test_a_report_is_written_anew_and_nothing_else_is(tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    assert write_report(run).path == write_report(run).path == run / "report.html"
    other = tmp_path / "letter.html"
    other.write_text("<html>a letter</html>")
    with pytest.raises(RunFolderError, match="no report of whet"):
        write_report(run, out=other)
    with pytest.raises(RunFolderError, match="is a folder"):
        write_report(run, out=tmp_path)
    assert other.read_text() == "<html>a letter</html>"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.json", None, "not finished"),
        ("recipe.yaml", None, "not a run folder"),
        ("metrics.json", "[]", "damaged"),
        ("metrics.json", "{", "cannot be read"),
        ("data.json", "{}", "damaged"),
        ("predictions.parquet", "no parquet", "predictions.parquet is damaged"),
        ("findings.json", '[{"id": 1}]', "findings.json is damaged"),
        ("findings.json", "{}", "findings.json is damaged"),
    ],
)
def test_damaged_folders_are_refused_with_the_reason(
    tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    run = classified(tmp_path / "run")
    (run / name).unlink(missing_ok=True)
    if content is not None:
        (run / name).write_text(content)
    with pytest.raises(RunFolderError, match=message):
        write_report(run)


def test_predictions_of_other_labels_are_damaged(tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    facts = json.loads((run / "data.json").read_text())
    (run / "data.json").write_text(json.dumps({**facts, "labels": ["x", "y"]}))
    with pytest.raises(RunFolderError, match="damaged"):
        write_report(run)


def test_a_log_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    run = classified(tmp_path / "run")
    with (run / "events.jsonl").open("a") as file:
        file.write('{"event": "Step", "step": 51, "lo')
    assert "training" in page(run).ids


# --- languages --------------------------------------------------------------------------------------------------


def said() -> set[str]:
    """Every English text that a report says."""
    texts = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "t" and node.args:
                texts |= {one.value for one in ast.walk(node.args[0]) if isinstance(one, ast.Constant)}
    for path in (PACKAGE / "templates").glob("*.html"):
        found = re.findall(r"""\bt\(\s*(?:"([^"]*)"|'([^']*)')""", path.read_text(encoding="utf-8"))
        texts |= {text for pair in found for text in pair}
        texts |= {"Error", "Warning", "Note"}
    named = (naming.METRICS, naming.BASELINES, naming.VALUE_BASELINES)
    texts |= {text for names in named for text in names.values()}
    return {text for text in texts if isinstance(text, str) and len(text) > 1 and text not in "_ "}


def test_every_text_is_there_in_korean_with_the_same_values() -> None:
    korean = yaml.safe_load((PACKAGE / "languages" / "ko.yaml").read_text(encoding="utf-8"))
    assert said() - korean.keys() == set()
    for text, translated in korean.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(one) if name} for one in (text, translated)]
        assert fields[0] == fields[1], text


def test_a_page_in_korean(tmp_path: Path) -> None:
    run = classified(tmp_path / "run", right=0.95)
    text = write_report(run, language="ko").path.read_text(encoding="utf-8")
    assert '<html lang="ko">' in text
    assert "모든 기준 모델보다 좋으며" in text
    assert "Class by class" not in text
    with pytest.raises(RecipeError, match="--lang kr: there is no report in it; known are: en, ko"):
        Words("kr")


def test_labels_that_a_file_keeps_otherwise_are_found_again(tmp_path: Path) -> None:
    run = classified(tmp_path / "run", labels=["1", "2"])
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(run / "predictions.parquet")
    labels = [f"{float(label)}" for label in table.column("label").to_pylist()]
    pq.write_table(table.set_column(1, "label", pa.array(labels)), run / "predictions.parquet")
    assert "classes" in page(run).ids
