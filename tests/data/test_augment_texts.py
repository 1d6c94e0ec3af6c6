"""Changed training texts: what is done, what is never done, and that it depends on seed, epoch and row alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import whet
from tests.conftest import sentences, write_csv
from whet import catalog
from whet.core import Columns, Examples, Loaded, Rows
from whet.data.augment.draws import draws
from whet.data.augment.texts import TextAugmentation, neighbours
from whet.errors import DataError, RecipeError
from whet.model.load import load

TEXT = "The film, sadly, was not good. It has 3 dull hours. Nobody laughed!"
ROWS = Rows({"text": [TEXT], "label": ["bad"]}, "data.csv", [2])
COLUMNS = Columns(("text",), ("label",))


def changes(**options: Any) -> TextAugmentation:
    def never(*_: object) -> Any:
        raise AssertionError("not asked for")

    return TextAugmentation(**options, rows=ROWS, columns=COLUMNS, encode=never, join=never)


def several(augmentation: TextAugmentation, text: str = TEXT, count: int = 40) -> list[str]:
    return [augmentation.changed(text, np.random.default_rng(seed)) for seed in range(count)]


def test_nothing_is_changed_unless_asked() -> None:
    assert set(several(changes())) == {TEXT}


@pytest.mark.parametrize("option", ["synonyms", "swap", "delete", "insert", "typos", "shuffle"])
def test_each_change_changes_something_and_the_same_numbers_change_the_same(option: str) -> None:
    augmentation = changes(**{option: 0.5}, near={"film": ("movie",), "dull": ("dreary",)})
    made = several(augmentation)
    assert len(set(made)) > 3 if option not in ("synonyms",) else len(set(made)) > 1
    assert made == several(augmentation)


def test_words_that_turn_a_meaning_round_and_protected_ones_stay() -> None:
    augmentation = changes(
        delete=0.9, typos=1.0, swap=0.5, synonyms=1.0, near={"not": ("so",)}, protect=frozenset({"film"})
    )
    for text in several(augmentation):
        assert all(word in text.split() or f"{word}," in text or f"{word}." in text for word in ("not", "3", "Nobody"))
        assert "film" in text


def test_a_synonym_keeps_case_and_signs() -> None:
    augmentation = changes(synonyms=1.0, near={"the": ("a",), "film": ("movie",), "good": ("fine",)})
    assert augmentation.changed(TEXT, np.random.default_rng(0)).startswith("A movie, sadly, was not fine.")


def test_at_least_half_of_the_words_stay_and_no_text_gets_empty() -> None:
    assert all(len(text.split()) >= len(TEXT.split()) // 2 for text in several(changes(delete=0.99)))
    assert set(several(changes(delete=0.99, typos=1.0), "ok")) == {"ok"}


def test_sentences_are_shuffled_whole() -> None:
    for text in several(changes(shuffle=1.0)):
        assert sorted(text.replace("! ", "!|").replace(". ", ".|").split("|")) == sorted(
            TEXT.replace(". ", ".|").split("|")
        )


def test_neighbours_are_whole_words_of_another_stem(tiny_model: Path) -> None:
    loaded = load(str(tiny_model), labels=["a", "b"], targets=2, problem="single_label")
    vocabulary = loaded.processor.get_vocab()
    table = np.random.default_rng(0).normal(size=(len(vocabulary), 8)).astype(np.float32)
    table[vocabulary["lovely"]] = table[vocabulary["good"]] + 0.01
    found = neighbours(
        Rows({"text": ["Good film", "x"], "label": ["a", "b"]}, "d", [1, 2]),
        COLUMNS,
        loaded.processor,
        table,
        least=0.9,
    )
    assert found == {"good": ("lovely",)}


def task(**options: Any) -> Any:
    rows = Rows({"text": [t for t, _ in sentences(8)], "label": [y for _, y in sentences(8)]}, "d.csv", range(2, 10))
    return rows, catalog.build("task", "text_classification", options).fit_to(rows, COLUMNS, to_split=False)[0]


def made(tiny_model: Path, **options: Any) -> tuple[Any, TextAugmentation, Examples, Loaded]:
    rows, fitted = task()
    loaded = load(str(tiny_model), labels=["bad", "good"], targets=2, problem="single_label")
    augmentation = fitted.augmentation(options, rows, COLUMNS, loaded)
    return fitted, augmentation, fitted.encode(rows, COLUMNS, loaded.processor), loaded


def test_a_batch_has_the_targets_of_its_rows_and_no_row_depends_on_the_others(tiny_model: Path) -> None:
    fitted, augmentation, examples, _ = made(tiny_model, swap=0.5, delete=0.3)
    rows = np.array([5, 2, 7])
    batch = augmentation.collate(examples, rows, draws(0, 1, rows))
    assert batch.targets is not None
    assert isinstance(examples.targets, np.ndarray)
    assert batch.targets.tolist() == examples.targets[rows].tolist()
    alone = augmentation.collate(examples, rows[1:2], draws(0, 1, rows[1:2]))
    length = int(alone.inputs["attention_mask"].sum())
    assert alone.inputs["input_ids"][0, :length].tolist() == batch.inputs["input_ids"][1, :length].tolist()
    other = augmentation.collate(examples, rows, draws(0, 2, rows))
    assert other.inputs["input_ids"].tolist() != batch.inputs["input_ids"].tolist()
    plain = fitted.collate(examples, rows)
    assert plain.inputs["input_ids"].tolist() != batch.inputs["input_ids"].tolist()


def test_a_list_of_words_is_read_and_a_missing_one_is_told(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("good, fine,lovely\nbad,poor\n")
    _, augmentation, _, _ = made(tiny_model, synonyms=0.5, word_list=str(tmp_path / "words.csv"))
    assert augmentation.near["fine"] == ("good", "lovely")
    with pytest.raises(RecipeError, match=r"nothing asks for its words; set augment.synonyms"):
        made(tiny_model, swap=0.5, word_list=str(tmp_path / "words.csv"))
    with pytest.raises(DataError, match=r"word_list: .*gone.csv does not exist"):
        made(tiny_model, synonyms=0.5, word_list=str(tmp_path / "gone.csv"))
    (tmp_path / "words.csv").write_text("good\n")
    with pytest.raises(DataError, match=r"no line of .* holds two words"):
        made(tiny_model, synonyms=0.5, word_list=str(tmp_path / "words.csv"))


def test_a_run_with_changed_texts_shows_them_and_is_resumed_to_the_same_bits(tiny_model: Path, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "rows.csv", ["text", "label"], [list(row) for row in sentences(60)])
    recipe = {
        "data": {"train": str(data)},
        "model": str(tiny_model),
        "method": "full",
        "augment": {"swap": 0.3, "delete": 0.2},
        "training": {"epochs": 2, "learning_rate": 0.01},
    }
    first, again = (whet.train(recipe, out=tmp_path / name, quiet=True) for name in ("one", "two"))
    assert first.metrics["validation"] == again.metrics["validation"]
    plain = whet.train({**recipe, "augment": {}}, out=tmp_path / "plain", quiet=True)
    assert plain.metrics["validation"]["loss"] != first.metrics["validation"]["loss"]
    with pytest.raises(RecipeError, match=r"augment.rotate: is nothing for task 'text_classification'"):
        whet.train({**recipe, "augment": {"rotate": 5}}, out=tmp_path / "no", quiet=True)
