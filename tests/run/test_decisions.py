"""What a recipe says of its values is read back as it was written."""

from __future__ import annotations

from whet import recipe as recipes
from whet.core import Choice
from whet.run.decisions import decisions


def test_every_value_comes_back_with_its_reason() -> None:
    values = {
        "data": {"train": "a  # b.csv", "text": ["x: y", "#z"], "label": None},
        "model": "it's: a 'name'  # of sorts",
        "method": {"name": "lora", "rank": 8},
        "empty": {},
        "seed": 0,
    }
    choices = [
        Choice("data.train", values["data"], "given"),
        Choice("data.text", None, "inferred", "a reason  # with a sign: and more"),
        Choice("data.label", None, "default"),
        Choice("model", None, "inferred", "'quoted' reason"),
        Choice("method.rank", 8, "default", "default of method 'lora'"),
    ]
    found = {one.path: (one.value, one.origin, one.reason) for one in decisions(recipes.dump(values, choices))}
    assert found == {
        "data.train": ("a  # b.csv", "given", ""),
        "data.text": (["x: y", "#z"], "inferred", "a reason # with a sign: and more"),
        "data.label": (None, "default", ""),
        "model": ("it's: a 'name'  # of sorts", "inferred", "'quoted' reason"),
        "method.name": ("lora", "given", ""),
        "method.rank": (8, "default", "default of method 'lora'"),
        "empty": ({}, "given", ""),
        "seed": (0, "given", ""),
    }


def test_what_a_person_has_rewritten_is_left_out() -> None:
    text = "# mine\ndata:\n  train: a.csv\n  text:\n  - x\n  - y\nseed: 1\n"
    assert [(one.path, one.value) for one in decisions(text)] == [
        ("data.train", "a.csv"),
        ("data.text", None),
        ("seed", 1),
    ]
