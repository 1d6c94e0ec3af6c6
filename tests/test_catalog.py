"""Variants are found by the names of their files, tell what they are, and refuse options that they do not have."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

import whet
from whet import catalog
from whet.catalog import Kind
from whet.errors import RecipeError

PACKAGE = Path(whet.__file__).parent
VARIANTS = [(kind, name) for kind in catalog.FOLDERS for name in catalog.names(kind)]
every_variant = pytest.mark.parametrize(("kind", "name"), VARIANTS, ids=[name for _, name in VARIANTS])


def problems(kind: Kind, name: str, **options: object) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        catalog.build(kind, name, options)
    return list(caught.value.problems)


# --- every variant ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", catalog.FOLDERS)
def test_names_are_the_names_of_the_files(kind: Kind) -> None:
    files = {path.stem for path in (PACKAGE / catalog.FOLDERS[kind]).glob("*.py")} - {"__init__"}
    assert set(catalog.names(kind)) == files
    assert list(catalog.names(kind)) == sorted(files)


@every_variant
def test_a_docstring_says_what_it_is_who_found_it_and_when_to_choose_it(kind: Kind, name: str) -> None:
    first, blank, *rest = catalog.docstring(kind, name).splitlines()
    assert re.fullmatch(r"[A-Z][^.]*(\.[^. ][^.]*)*\.", first), f"no single sentence: {first}"
    assert len(first) <= 100
    assert blank == ""
    text = " ".join(rest)
    assert re.search(r"arXiv \d{4}\.\d{4,5}|[A-Z][\w-]+( and [A-Z][\w-]+| et al\.)? (19|20)\d\d", text), "no paper"
    assert "Choose" in text


@every_variant
def test_a_docstring_is_the_same_with_and_without_import(kind: Kind, name: str) -> None:
    assert catalog.docstring(kind, name).split() == (catalog.load(kind, name).__doc__ or "").split()
    assert catalog.summary(kind, name) == catalog.docstring(kind, name).splitlines()[0]


@every_variant
def test_every_option_has_a_sentence_and_a_readable_type(kind: Kind, name: str) -> None:
    for option in catalog.options(kind, name):
        assert re.match(r"[A-Z].*[.;]", " ".join(option.description.split())), option
        assert "Annotated" not in option.type, option
        assert "Field" not in option.type, option
        assert "." not in option.type, option


def needed(kind: Kind, name: str) -> dict[str, object]:
    """A value for every option that has no default; all of them are lists of patterns."""
    return {option.name: ["*"] for option in catalog.options(kind, name) if option.required}


@every_variant
def test_a_variant_without_options_given_has_its_defaults(kind: Kind, name: str) -> None:
    built = catalog.build(kind, name, needed(kind, name))
    defaults = {option.name: option.default for option in catalog.options(kind, name)}
    assert catalog.settings(built) == defaults | needed(kind, name)
    assert catalog.build(kind, name, catalog.settings(built)) == built


@every_variant
def test_the_schema_has_the_very_options(kind: Kind, name: str) -> None:
    schema = catalog.schema(kind, name)
    described = {key: value["description"] for key, value in schema.get("properties", {}).items()}
    assert described == {option.name: option.description for option in catalog.options(kind, name)}
    assert schema["additionalProperties"] is False


@every_variant
def test_an_unknown_option_is_refused(kind: Kind, name: str) -> None:
    given = {**needed(kind, name), "no_such_option": 1}
    assert problems(kind, name, **given)[0].startswith(f"{kind}.no_such_option: unknown option of '{name}'")


# --- options ------------------------------------------------------------------------------------------------------


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"^method 'lroa' is not known; did you mean 'lora'\?$"):
        catalog.load("method", "lroa")
    with pytest.raises(RecipeError, match=r"^task 'x' is not known; known are: .*text_classification"):
        catalog.docstring("task", "x")


def test_an_option_of_another_method_names_its_owner() -> None:
    assert problems("method", "full", count=8) == ["method.count: unknown option of 'full'; it belongs to last_blocks"]


def test_a_misspelt_option_suggests_the_nearest() -> None:
    assert problems("method", "lora", rnak=8) == ["method.rnak: unknown option of 'lora'; did you mean 'rank'?"]


def test_all_problems_of_the_options_are_told_at_once() -> None:
    assert problems("method", "lora", rank=0, alpha="much", dropout=float("nan"), targets=True, count=2) == [
        "method.rank: 0 should be greater than or equal to 1",
        "method.alpha: 'much' should be a valid number, unable to parse string as a number",
        "method.dropout: nan should be a finite number",
        "method.targets: true should be a valid list",
        "method.count: unknown option of 'lora'; it belongs to last_blocks",
    ]


def test_a_truth_value_is_no_number_and_no_name() -> None:
    assert problems("method", "lora", rank=True) == ["method.rank: true should be a valid integer"]
    assert problems("task", "text_classification", labels=["maybe", False]) == [
        "task.labels.1: false should be a text; put it in quotes"
    ]


def test_a_truth_value_is_what_an_option_of_truth_wants() -> None:
    for told in (False, catalog.without_truths(False)):
        assert not catalog.build("method", "qlora", {"double_quantisation": told}).double_quantisation
    assert problems("method", "qlora", double_quantisation="perhaps") == [
        "method.double_quantisation: 'perhaps' should be a valid boolean, unable to interpret input"
    ]


def test_an_option_of_several_types_has_one_problem() -> None:
    name = "text_classification"
    assert problems("task", name, class_weights=3) == [
        "task.class_weights: 3 should be 'balanced' | dict[str, float] | None"
    ]
    assert problems("task", name, class_weights={"a": 1, "b": -1}) == [
        "task.class_weights.b: -1 should be greater than 0"
    ]


def test_classes_that_are_called_by_numbers_are_texts() -> None:
    task = catalog.build("task", "text_classification", {"labels": [0, 1], "class_weights": {0: 1, 1: 2}})
    assert task.labels == ["0", "1"]
    assert task.class_weights == {"0": 1.0, "1": 2.0}


def test_a_long_value_is_cut_in_a_message() -> None:
    (problem,) = problems("method", "lora", rank="x" * 10_000)
    assert len(problem) < 200


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "int"),
        (int | None, "int | None"),
        (Annotated[int, Field(ge=1)] | None, "int | None"),
        (Literal["a", "b"], "'a' | 'b'"),
        (list[str] | None, "list[str] | None"),
        (Literal["x"] | dict[str, Annotated[float, Field(gt=0)]] | None, "'x' | dict[str, float] | None"),
    ],
)
def test_types_are_spelled_as_one_reads_them(annotation: object, words: str) -> None:
    assert catalog.spelled(annotation) == words


# --- files and outsiders ------------------------------------------------------------------------------------------

OUTSIDER = '''
"""A method from elsewhere."""

from typing import Annotated
from pydantic import Field
from pydantic.dataclasses import dataclass
from whet.catalog import OPTIONS

@dataclass(frozen=True, config=OPTIONS)
class Polish:
    """Polishing: nothing trains.

    Nobody 2026 (arXiv 2601.00001). Choose it never.
    """

    shine: Annotated[int, Field(ge=1)] = 3
    """How much it shines."""
'''


@pytest.fixture
def outsider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path with a distribution that adds the methods polish, broken and absent."""
    (tmp_path / "polishing.py").write_text(OUTSIDER)
    (tmp_path / "splintered.py").write_text('class Broken:\n    """It breaks."""\n\nraise ZeroDivisionError\n')
    folder = tmp_path / "polishing-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: polishing\nVersion: 1.0\n")
    points = {"polish": "polishing:Polish", "broken": "splintered:Broken", "absent": "polishing:Absent"}
    lines = [f"{name} = {target}" for name, target in points.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[whet.methods]", *lines, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    caches = (catalog.names, catalog._entry_points)
    for cached in caches:
        cached.cache_clear()
    yield tmp_path
    for cached in caches:
        cached.cache_clear()
    for module in ("polishing", "splintered"):
        sys.modules.pop(module, None)


def test_an_outsider_is_listed_after_the_house_and_works_alike(outsider: Path) -> None:
    own = [name for kind, name in VARIANTS if kind == "method"]
    assert catalog.names("method") == (*own, "absent", "broken", "polish")
    assert catalog.summary("method", "polish") == "Polishing: nothing trains."
    assert "polishing" not in sys.modules, "a summary must not run the file"
    assert catalog.settings(catalog.build("method", "polish", {"shine": "5"})) == {"shine": 5}
    assert [option.name for option in catalog.options("method", "polish")] == ["shine"]


def test_a_broken_file_raises_its_own_error_and_can_still_be_listed(outsider: Path) -> None:
    assert catalog.summary("method", "broken") == "It breaks."
    with pytest.raises(ZeroDivisionError):
        catalog.load("method", "broken")


def test_a_file_without_its_class_says_which_class_it_needs(outsider: Path) -> None:
    with pytest.raises(ImportError, match="method 'absent' needs a class 'Absent' in polishing"):
        catalog.load("method", "absent")


def test_a_new_file_of_the_house_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = importlib.import_module("whet.methods")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    (tmp_path / "two_words.py").write_text(OUTSIDER.replace("Polish:", "TwoWords:"))
    monkeypatch.setattr(catalog, "_folder", lambda _: tmp_path)
    catalog.names.cache_clear()
    try:
        assert catalog.names("method") == ("two_words",)
        assert catalog.load("method", "two_words").__name__ == "TwoWords"
        assert catalog.summary("method", "two_words") == "Polishing: nothing trains."
    finally:
        catalog.names.cache_clear()
        sys.modules.pop("whet.methods.two_words", None)
