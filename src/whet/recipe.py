"""What the user asked for: a recipe, validated as a whole, all its problems reported at once.

A recipe comes from a YAML file, from keywords, from ``--set a.b=c``, or from all of them; later ones win. What it
leaves open is decided later and recorded with its reason. This module reads no data and no model.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from whet import catalog
from whet.core import Choice
from whet.errors import RecipeError, did_you_mean
from whet.sections import RISING, SCHEDULES, Data, Section, Training

HUB = "hub:"
"""Prefix of a data set on a model hub, as in ``hub:owner/name``."""


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class Variant(BaseModel):
    """A method or a task with its options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, object]:
        """What was set beside the name."""
        return dict(self.model_extra or {})


class Recipe(Section):
    """A fine-tuning run as its user wants it."""

    data: Data
    model: str | None = None
    """A folder, or a name on a model hub; without it the embedded MiniLM."""
    task: Annotated[Variant, BeforeValidator(_named)] | None = None
    """Kind of problem; inferred from the columns if not named."""
    method: Annotated[Variant, BeforeValidator(_named)] | None = None
    """Way to fine-tune; advised from the model's size if not named."""
    training: Training = Training()
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of splits, new weights, order of rows and dropout."""


# --- reading --------------------------------------------------------------------------------------------------


def parse(raw: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values; raises RecipeError with every problem that can be seen without the data."""
    problems = [*_conflicts(raw), *_variant_problems(raw)]
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        problems += [catalog.explain(_shorten(problem), hint=_hint(problem)) for problem in error.errors()]
    if problems:
        raise RecipeError(*problems)
    return recipe


def read(path: Path) -> dict[str, Any]:
    """The plain values of a recipe file; relative data paths in it are taken from the file's own folder."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)  # noqa: S506  # a SafeLoader
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: a recipe is a mapping such as 'data: {{train: reviews.csv}}', this is not")
    data = raw.get("data")
    if isinstance(data, str):
        raw["data"] = data = {"train": data}
    if isinstance(data, dict):
        for key in ("train", "validation", "test"):
            if isinstance(name := data.get(key), str) and not name.startswith(HUB):
                data[key] = str(path.parent / name)
    if isinstance(model := raw.get("model"), str) and (path.parent / model / "config.json").is_file():
        raw["model"] = str(path.parent / model)
    return raw


def assign(raw: dict[str, Any], assignments: Iterable[str]) -> None:
    """Set ``a.b=c`` in plain values; c is read as YAML. Raises RecipeError for what is no assignment."""
    problems = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            problems.append(f"--set {assignment}: write it as a.b=c, such as training.epochs=5")
            continue
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        put(raw, keys, value)
    if problems:
        raise RecipeError(*problems)


def put(raw: dict[str, Any], keys: list[str], value: object) -> None:
    """Set one value in nested plain values; a bare name on the way, such as ``method: lora``, keeps its meaning."""
    place = raw
    for key in keys[:-1]:
        below = place.get(key)
        if isinstance(below, str):
            below = {"train": below} if key == "data" else {"name": below}
        place[key] = below = below if isinstance(below, dict) else {}
        place = below
    place[keys[-1]] = value


def given(recipe: Recipe) -> set[str]:
    """Dotted paths of all values that the user set."""
    paths = set()
    for name in recipe.model_fields_set:
        value = vars(recipe)[name]
        if isinstance(value, Section):
            paths |= {f"{name}.{key}" for key in value.model_fields_set}
        elif isinstance(value, Variant):
            paths |= {f"{name}.name", *(f"{name}.{key}" for key in value.options)}
        else:
            paths.add(name)
    return paths


# --- writing --------------------------------------------------------------------------------------------------


def dump(values: Mapping[str, Any], choices: Iterable[Choice]) -> str:
    """Plain values as YAML in which every value that whet decided carries its reason as a comment."""
    reasons = {choice.path: choice for choice in choices if choice.origin != "given"}
    return "\n".join(_lines(values, "", reasons)) + "\n"


def schema() -> dict[str, Any]:
    """JSON schema of a recipe, with the options of every method and task, for editors."""
    result = Recipe.model_json_schema()
    for kind in catalog.FOLDERS:
        variants: list[dict[str, Any]] = [{"type": "string", "enum": list(catalog.names(kind))}]
        for name in catalog.names(kind):
            options = catalog.schema(kind, name)
            options["properties"] = {"name": {"const": name}, **options.get("properties", {})}
            options["required"] = ["name", *options.get("required", [])]
            variants.append(options)
        result["properties"][kind] = {
            "anyOf": [*variants, {"type": "null"}],
            "default": None,
            "description": result["properties"][kind]["description"],
        }
    result["$defs"].pop("Variant", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "whet recipe", **result}


# --- how it is done -------------------------------------------------------------------------------------------


def _conflicts(raw: Mapping[str, Any]) -> list[str]:
    problems = []
    training = raw.get("training")
    training = training if isinstance(training, Mapping) else {}
    schedule = training.get("schedule")
    schedule = schedule.get("name") if isinstance(schedule, Mapping) else schedule
    if training.get("epochs") is not None and training.get("steps") is not None:
        problems.append("training.epochs and training.steps are both set: keep one of them")
    if training.get("momentum") is not None and training.get("optimizer") != "sgd":
        problems.append(
            "training.momentum: applies to optimizer 'sgd' only; set training.optimizer=sgd or leave it out"
        )
    if training.get("warmup") and schedule in RISING:
        problems.append(f"training.warmup: schedule '{schedule}' rises by itself; leave warmup out")
    micro, batch = training.get("micro_batch_size"), training.get("batch_size", 16)
    if isinstance(micro, int) and isinstance(batch, int) and micro > batch:
        problems.append(f"training.micro_batch_size: {micro} is more than training.batch_size, which is {batch}")
    data = raw.get("data")
    data = data if isinstance(data, Mapping) else {}
    shares = data.get("validation_share", 0.1), data.get("test_share", 0.1)
    if all(isinstance(share, int | float) for share in shares) and sum(shares) >= 1:
        problems.append(f"data.validation_share and data.test_share are {shares[0]} and {shares[1]}: nothing is left")
    return problems


def _variant_problems(raw: Mapping[str, Any]) -> list[str]:
    problems = []
    for kind in catalog.FOLDERS:
        chosen = _named(raw.get(kind))
        if not isinstance(chosen, Mapping) or not isinstance(chosen.get("name"), str):
            continue
        try:
            catalog.build(kind, chosen["name"], {key: value for key, value in chosen.items() if key != "name"})
        except RecipeError as error:
            problems += [p if p.startswith(f"{kind}.") else f"{kind}: {p}" for p in error.problems]
    return problems


def _shorten(problem: Any) -> Any:
    """Drop the parts of a place that only pydantic knows: the chosen member of a union."""
    hidden = {"str", "list[str]", *SCHEDULES}
    return {**problem, "loc": tuple(part for part in problem["loc"] if part not in hidden)}


def _hint(problem: Any) -> str:
    *path, word = problem["loc"]
    if problem["type"] == "missing":
        return (
            "; name a file, as in 'whet train reviews.csv'" if problem["loc"] in (("data",), ("data", "train")) else ""
        )
    if problem["type"] != "extra_forbidden":
        return ""
    section: Any = {(): Recipe, ("data",): Data, ("training",): Training}.get(tuple(path))
    if section is None and path and path[-1] in SCHEDULES:
        section = SCHEDULES[path[-1]]
        return f" of schedule '{path[-1]}'{did_you_mean(str(word), [k for k in section.model_fields if k != 'name'])}"
    return did_you_mean(str(word), section.model_fields) if section else ""


def _lines(values: Mapping[str, Any], prefix: str, reasons: Mapping[str, Choice]) -> Iterable[str]:
    indent = "  " * prefix.count(".")
    for key, value in values.items():
        path = f"{prefix}{key}"
        choice = reasons.get(path)
        comment = f"  # {' '.join(choice.reason.split()) or 'default'}" if choice else ""
        if isinstance(value, Mapping) and value:
            yield f"{indent}{key}:{comment}"
            yield from _lines(value, f"{path}.", reasons)
        else:
            # In a list of one, every value is written on one line, whatever it holds.
            text = yaml.safe_dump([value], allow_unicode=True, width=10**9, default_flow_style=True).strip()
            yield f"{indent}{yaml.safe_dump(key, allow_unicode=True).splitlines()[0]}: {text[1:-1]}{comment}"


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key that stands twice: the first of the two would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                raise yaml.YAMLError(f"key '{key}' stands twice{node.start_mark}")
        return super().construct_mapping(node, deep)
