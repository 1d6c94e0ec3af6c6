"""A recipe is read from anything, refused with all its mistakes at once, and written so that it reads back the same."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from whet import catalog
from whet import recipe as recipes
from whet.errors import RecipeError
from whet.recipe import Recipe
from whet.sections import SCHEDULES, Data


def problems(raw: Mapping[str, Any]) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipes.parse(raw)
    return list(caught.value.problems)


def with_data(**sections: Any) -> dict[str, Any]:
    return {"data": {"train": "reviews.csv"}, **sections}


def training(**options: Any) -> dict[str, Any]:
    return with_data(training=options)


def columns(**options: Any) -> dict[str, Any]:
    return {"data": {"train": "reviews.csv", **options}}


def assigned(*assignments: str, **sections: Any) -> dict[str, Any]:
    raw = with_data(**sections)
    recipes.assign(raw, assignments)
    return raw


def value_of(assignment: str) -> object:
    raw: dict[str, Any] = {}
    recipes.assign(raw, [f"key={assignment}"])
    return raw["key"]


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- sources ------------------------------------------------------------------------------------------------------


def test_a_file_name_alone_is_a_recipe() -> None:
    for raw in (recipes.plain("reviews.csv"), recipes.plain(Path("reviews.csv")), {"data": "reviews.csv"}):
        recipe = recipes.parse(raw)
        assert recipe == Recipe(data=Data(train="reviews.csv"))
        assert recipes.given(recipe) == {"data.train"}


def test_a_mapping_is_copied_before_anything_is_set_in_it() -> None:
    mine = {"data": {"train": "reviews.csv"}}
    recipes.assign(recipes.plain(mine), ["data.label=stars"])
    assert mine == {"data": {"train": "reviews.csv"}}


def test_a_file_means_the_same_from_every_folder(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").touch()
    lines = ["data: {train: a.csv, validation: /data/b.csv, test: 'hub:me/c'}", "model: bert", ""]
    raw = recipes.plain(written(tmp_path, "\n".join(lines)))
    assert raw["data"] == {"train": str(tmp_path / "a.csv"), "validation": "/data/b.csv", "test": "hub:me/c"}
    assert raw["model"] == str(tmp_path / "bert")


def test_a_model_that_is_no_folder_beside_the_file_keeps_its_name(tmp_path: Path) -> None:
    raw = recipes.read(written(tmp_path, "data: a.csv\nmodel: google/bert\n"))
    assert raw == {"data": {"train": str(tmp_path / "a.csv")}, "model": "google/bert"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: [a\n", ["not valid YAML", "line 2"]),
        ("data: a.csv\nmethod: lora\nmethod: full\n", ["key 'method' stands twice in line 3"]),
        ("data: a.csv\ntraining:\n  epochs: 1\n  epochs: 2\n", ["key 'epochs' stands twice in line 4"]),
        ("data: a.csv\ntask: {name: x, labels: {a: 1, a: 2}}\n", ["key 'a' stands twice in line 2"]),
        ("- data\n", ["a recipe is a mapping such as"]),
        ("", ["a recipe is a mapping such as"]),
        ("reviews.csv", ["a recipe is a mapping such as"]),
        ("data: !!python/object/apply:os.system [ls]\n", ["not valid YAML", "python/object"]),
        ("data: \a\n", ["not valid YAML", "special characters are not allowed"]),
        ("데이터: 가".encode("cp949"), ["not UTF-8 text", "byte 0"]),
    ],
)
def test_a_file_that_is_no_recipe_says_why_and_where(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    path = written(tmp_path, text)
    with pytest.raises(RecipeError) as caught:
        recipes.read(path)
    assert [word for word in [str(path), *words] if word not in str(caught.value)] == []


def test_an_absent_file_suggests_its_neighbour(tmp_path: Path) -> None:
    written(tmp_path, "")
    with pytest.raises(RecipeError, match=r"recipes\.yaml: .*No such file.*; did you mean 'recipe\.yaml'\?"):
        recipes.read(tmp_path / "recipes.yaml")
    with pytest.raises(RecipeError, match="there is no folder"):
        recipes.read(tmp_path / "no" / "recipe.yaml")


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert recipes.read(written(tmp_path, b"\xef\xbb\xbfseed: 3\n")) == {"seed": 3}


# --- assignments --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("0.5", 0.5),
        ("-1", -1),
        ("true", True),
        ("null", None),
        ("~", None),
        ("text", "text"),
        (" text ", "text"),
        ("a b", "a b"),
        ("1e-4", "1e-4"),
        ("'5'", "5"),
        ('"a: b"', "a: b"),
        ("[a, b]", ["a", "b"]),
        ("[1, null, '2']", [1, None, "2"]),
        ("[]", []),
        ("{name: cosine, final: 0.1}", {"name": "cosine", "final": 0.1}),
        # What YAML would take for something else is a text: a comment, a mapping, a date, an alias, a tag, a block.
        ("#tag", "#tag"),
        ("a: b", "a: b"),
        ("2024-01-01", "2024-01-01"),
        ("*.query", "*.query"),
        ("[*.query, *.value]", ["*.query", "*.value"]),
        ("!mark", "!mark"),
        ("|", "|"),
        (",", ","),
        (";", ";"),
        ("\t", "\t"),
        ("가=나", "가=나"),
    ],
)
def test_the_value_of_an_assignment(text: str, value: object) -> None:
    assert value_of(text) == value


def test_an_option_can_follow_the_bare_name_of_its_method() -> None:
    raw = assigned("method.rank=8", "training.schedule=cosine", "training.schedule.final=0.1", method="lora")
    assert raw["method"] == {"name": "lora", "rank": 8}
    assert raw["training"] == {"schedule": {"name": "cosine", "final": 0.1}}
    recipe = recipes.parse(raw)
    assert recipe.method is not None
    assert recipe.method.options == {"rank": 8}


def test_a_bare_off_of_yaml_is_the_word() -> None:
    assert recipes.parse(assigned("training.cache=off")).training.cache == "off"


def test_later_assignments_win_and_a_bare_name_drops_the_options() -> None:
    raw = assigned("method=full", "training.epochs=1", "training.epochs=2", method={"name": "lora", "rank": 8})
    assert raw["method"] == "full"
    assert raw["training"] == {"epochs": 2}


def test_an_option_of_bare_data_keeps_the_file() -> None:
    raw: dict[str, Any] = {"data": "reviews.csv"}
    recipes.assign(raw, ["data.label=stars"])
    assert raw == {"data": {"train": "reviews.csv", "label": "stars"}}


def test_all_that_are_no_assignments_are_told() -> None:
    wrong = ["epochs", "=5", "training.=5", "training..epochs=5", "training.epochs=", "data.label=[a", "x={a: 1, a: 2}"]
    with pytest.raises(RecipeError) as caught:
        recipes.assign({}, ["seed=1", *wrong])
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "--set epochs",
        "--set =5",
        "--set training.=5",
        "--set training..epochs=5",
        "--set training.epochs=",
        "--set data.label=[a",
        "--set x={a",
    ]


# --- mistakes -----------------------------------------------------------------------------------------------------


def test_eight_mistakes_are_eight_messages() -> None:
    raw = {
        "data": {"train": "reviews.csv", "lable": "stars", "validation_share": 2},
        "metod": "lora",
        "method": {"name": "full", "count": 8},
        "training": {"epochs": 3, "steps": 10, "optimiser": "sgd", "batch_size": "many", "schedule": "cosin"},
    }
    assert sorted(problems(raw)) == [
        "data.lable: unknown option; did you mean 'label'?",
        "data.validation_share: 2 should be less than 1",
        "method.count: unknown option of 'full'; it belongs to last_blocks",
        "metod: unknown option; did you mean 'method'?",
        "training.batch_size: 'many' should be a valid integer, unable to parse string as an integer",
        "training.epochs and training.steps are both set: keep one of them",
        "training.optimiser: unknown option; did you mean 'optimizer'?",
        "training.schedule: 'cosin' is not a schedule; did you mean 'cosine'?",
    ]


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        # names
        ({}, "data: is missing; name a file, as in 'whet train reviews.csv'"),
        ({"data": {}}, "data.train: is missing; name a file, as in 'whet train reviews.csv'"),
        (with_data(method="lroa"), "method 'lroa' is not known; did you mean 'lora'?"),
        (with_data(task="text"), f"task 'text' is not known; known are: {', '.join(catalog.names('task'))}"),
        (with_data(epochs=3), "epochs: unknown option; did you mean 'training.epochs'?"),
        (with_data(count=3), "count: unknown option; did you mean 'method.count' of last_blocks?"),
        (training(cosine=True, epochs=1), None),
        (with_data(method={"rank": 8}), f"method.name: is missing; known are: {', '.join(catalog.names('method'))}"),
        (with_data(task={"sampels": 8}), "task.sampels: unknown option of every task; did you mean 'samples'?"),
        (with_data(task={"name": 5, "samples": 8}), "task.name: 5 should be a text; put it in quotes"),
        (with_data(method={"name": "lora", "rnk": 8}), "method.rnk: unknown option of 'lora'; did you mean 'rank'?"),
        (
            training(schedule={"name": "linear", "finall": 0}),
            "training.schedule.finall: unknown option of schedule 'linear'; did you mean 'final'?",
        ),
        (
            training(schedule={"name": "constant", "final": 0}),
            "training.schedule.final: unknown option of schedule 'constant'; it has none",
        ),
        (
            training(schedule={"final": 0}),
            f"training.schedule: {{'final': 0}} has no name; known are: {', '.join(SCHEDULES)}",
        ),
        # types
        (with_data(training=5), "training: 5 should be a mapping of options"),
        (with_data(method=5), "method: 5 should be a mapping of options, or a name"),
        (training(schedule=5), "training.schedule: 5 should be a mapping of options, or a name"),
        (with_data(model=5), "model: 5 should be a text; put it in quotes"),
        (with_data(seed="x"), "seed: 'x' should be a valid integer, unable to parse string as an integer"),
        (with_data(seed=True), "seed: true should be a valid integer"),
        (training(warmup=False), "training.warmup: false should be a valid number"),
        (training(epochs=1.5), "training.epochs: 1.5 should be a valid integer, got a number with a fractional part"),
        (training(optimizer="adam"), "training.optimizer: 'adam' should be 'adamw' or 'sgd'"),
        (training(schedule={"name": ["linear"]}), None),
        (
            columns(label=True),
            "data.label: true should be the name of a column, or a list of names; put it in quotes",
        ),
        (columns(label=[]), "data.label: [] should be the name of a column, or a list of names"),
        (columns(label=["b", "b"]), "data.label: ['b', 'b'] names a column twice"),
        (
            columns(text=["b", "c", "d"]),
            "data.text: ['b', 'c', 'd'] names more than two columns; a row has one text, or two for pairs",
        ),
        (columns(delimiter="::"), "data.delimiter: '::' should be a single character, or tab"),
        # bounds
        (training(learning_rate=0), "training.learning_rate: 0 should be greater than 0"),
        (training(epochs=0), "training.epochs: 0 should be greater than or equal to 1"),
        (training(max_gradient_norm=float("inf")), "training.max_gradient_norm: inf should be a finite number"),
        (
            training(schedule={"name": "cosine", "final": 2}),
            "training.schedule.final: 2 should be less than or equal to 1",
        ),
        (with_data(seed=-1), "seed: -1 should be greater than or equal to 0"),
        # options that do not go together
        (
            training(momentum=0.9),
            "training.momentum: applies to optimizer 'sgd' only; set training.optimizer=sgd or leave it out",
        ),
        (
            training(momentum=0.9, optimizer="sgd", schedule="one_cycle"),
            "training.momentum: schedule 'one_cycle' moves the momentum by itself; set its lowest_momentum and "
            "highest_momentum instead",
        ),
        (
            training(warmup=0.1, schedule="one_cycle"),
            "training.warmup: schedule 'one_cycle' rises by itself; leave warmup out",
        ),
        (training(micro_batch_size=32), "training.micro_batch_size: 32 is more than training.batch_size, which is 16"),
        (
            columns(validation_share=0.5, test_share=0.5),
            "data.validation_share (0.5) and data.test_share (0.5) make 1 or more: no rows are left to train on; 0.1 "
            "each is usual",
        ),
        (
            columns(test="b", test_share=0.2),
            "data.test_share: data.test names the test rows already; leave one of the two out",
        ),
    ],
)
def test_one_mistake_is_one_message(raw: dict[str, Any], problem: str | None) -> None:
    found = problems(raw)
    assert len(found) == 1
    assert problem is None or found == [problem]


@pytest.mark.parametrize(
    "raw",
    [
        training(warmup=0, schedule="one_cycle"),
        training(warmup=0.1, schedule={"name": "linear", "final": 0.1}),
        training(momentum=0.9, optimizer="sgd"),
        training(max_gradient_norm=None, patience=None, epochs=None, steps=5),
        training(learning_rate="1e-4"),
        training(micro_batch_size=32, batch_size=64),
        {"data": {"train": "a", "validation": "b", "test": "c"}},
        {"data": {"train": "a", "validation": "b", "test_share": 0.95}},
        {"data": {"train": "a", "text": ["b", "c"], "label": 5, "delimiter": "tab"}},
        with_data(method=None, task=None, model=None),
        with_data(method={"name": "lora", "rank": 4, "targets": ["*.query"]}),
        with_data(task={"name": "text_classification", "class_weights": "balanced"}),
        with_data(task={"samples": 2}),
        with_data(task={"name": None, "samples": 2}),
        columns(split="random"),
        with_data(training={}),
    ],
)
def test_a_right_recipe_is_taken(raw: dict[str, Any]) -> None:
    assert recipes.parse(raw).data.train in ("a", "reviews.csv")


@pytest.mark.parametrize("value", [True, False])
def test_an_option_that_is_true_or_false_reaches_the_method(value: bool) -> None:
    asked = recipes.parse(with_data(method={"name": "lora", "decompose": value})).method
    assert asked is not None
    assert catalog.build("method", asked.name, asked.options).decompose is value


def test_a_column_that_is_called_by_a_number_is_that_column() -> None:
    data = recipes.parse({"data": {"train": "a", "text": 0, "label": [1, 2]}}).data
    assert (data.text, data.label) == ("0", ["1", "2"])


def test_what_is_given_is_what_was_said_and_null_says_nothing_but_for_clipping() -> None:
    raw = {
        "data": {"train": "a.csv", "label": None},
        "model": None,
        "method": {"name": "lora", "rank": 8, "targets": None},
        "training": {"epochs": 1, "warmup": None, "max_gradient_norm": None, "batch_size": 16},
    }
    asked = {"data.train", "method.name", "method.rank", "training.epochs"}
    assert recipes.given(recipes.parse(raw)) == asked | {"training.max_gradient_norm", "training.batch_size"}
