"""From a recipe to rows on their sides and the task that they are for."""

from pathlib import Path
from typing import Any

import pytest

from tests import texts
from tests.pictures import class_folders
from whet import catalog
from whet import recipe as recipes
from whet.core import Choice
from whet.errors import RecipeError
from whet.intake import intake, split_column


def taken(**sections: Any) -> Any:
    return intake(recipes.parse(sections))


def reason(choices: list[Choice], path: str) -> str:
    return next(choice.reason for choice in choices if choice.path == path)


# --- options of a task that is inferred ---


def test_options_without_a_name_are_for_the_task_that_the_rows_are_for(tmp_path: Path) -> None:
    rows = [{"source": f"the {number}", "target": f"{number} it is"} for number in range(40)]
    data = texts.write_lines(tmp_path / "rows.jsonl", rows)
    _, _, name, task, choices = taken(data=str(data), task={"samples": 2, "beams": 3})
    assert name == "seq2seq"
    assert (task.samples, task.beams) == (2, 3)
    assert "source" in reason(choices, "task.name")
    assert recipes.given(recipes.parse({"data": "a.csv", "task": {"samples": 2}})) == {"data.train", "task.samples"}


def test_all_that_is_wrong_with_them_is_told_with_the_task_and_why(tmp_path: Path) -> None:
    options = {"samples": 2, "label_smoothing": 3}
    with pytest.raises(RecipeError) as caught:
        taken(data=str(texts.reviews(tmp_path)), task=options)
    assert sorted(caught.value.problems) == [
        "task 'text_classification' is what the rows are for, since there are texts and labels; for another one set "
        "task.name",
        "task.label_smoothing: 3 should be less than 1",
        "task.samples: unknown option of 'text_classification'; it belongs to causal_lm, seq2seq, speech_recognition",
    ]


# --- rows that say where they stand ---


def marked(folder: Path) -> Path:
    sides = ["train"] * 40 + ["dev"] * 8 + ["test"] * 12
    cells = [[text, label, side] for (text, label), side in zip(texts.sentences(60), sides, strict=True)]
    return texts.write_csv(folder / "rows.csv", ["text", "label", "split"], cells)


def test_a_table_is_split_as_its_rows_say_and_the_resolved_recipe_says_so(tmp_path: Path) -> None:
    splits, columns, _, _, choices = taken(data=str(marked(tmp_path)))
    assert {side: len(part) for side, part in splits.items()} == {"train": 40, "validation": 8, "test": 12}
    assert (columns.text, columns.label, split_column(choices)) == (("text",), ("label",), "split")
    assert reason(choices, "data.split") == "its values say who trains: 40 train, 8 validation, 12 test"
    assert not [choice for choice in choices if choice.path.endswith("_share")]


def test_sides_are_drawn_where_the_user_wants_it(tmp_path: Path) -> None:
    splits, _, _, _, choices = taken(data={"train": str(marked(tmp_path)), "split": "random"})
    assert {side: len(part) for side, part in splits.items()} == {"train": 48, "validation": 6, "test": 6}
    assert split_column(choices) is None


def test_a_share_of_what_the_rows_say_already_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"own test rows, by column 'split' \(data.split=random.*leave the share out"):
        taken(data={"train": str(marked(tmp_path)), "test_share": 0.3})


def test_validation_rows_are_split_off_where_the_rows_name_none(tmp_path: Path) -> None:
    lines = [line.replace(",dev", ",train") for line in marked(tmp_path).read_text().splitlines()]
    (tmp_path / "two.csv").write_text("\n".join(lines))
    splits, _, _, _, choices = taken(data=str(tmp_path / "two.csv"))
    assert {side: len(part) for side, part in splits.items()} == {"train": 44, "validation": 4, "test": 12}
    assert "no validation file" in reason(choices, "data.validation_share")


@pytest.mark.parametrize("where", ["table", "folder"])
def test_paths_of_files_are_split_as_their_table_says(where: str, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    class_folders(tmp_path / "data" / "files", 12)
    cells = [
        [f"files/{label}/{number}.png", label, "test" if number < 3 else "train"]
        for label in ("red", "green")
        for number in range(12)
    ]
    table = texts.write_csv(tmp_path / "data" / "metadata.csv", ["file_name", "label", "split"], cells)
    splits, _, name, _, _ = taken(data=str(table if where == "table" else table.parent))
    assert (name, len(splits["test"])) == ("image_classification", 6)
    assert {Path(str(path)).stem for path in splits["test"].columns["file_name"]} == {"0", "1", "2"}


def test_lines_of_chats_are_split_as_they_say(tmp_path: Path) -> None:
    lines = [{"prompt": f"{n}?", "completion": f"{n}!", "subset": "test" if n % 5 == 0 else "train"} for n in range(40)]
    splits, _, name, _, _ = taken(data=str(texts.write_lines(tmp_path / "rows.jsonl", lines)))
    assert (name, len(splits["test"])) == ("causal_lm", 8)


def test_every_option_of_every_task_can_stand_without_a_name() -> None:
    for name in catalog.names("task"):
        for option in catalog.options("task", name):
            recipe = recipes.parse({"data": "a.csv", "task": {option.name: option.default}})
            assert recipe.task is not None
            assert recipe.task.name is None
