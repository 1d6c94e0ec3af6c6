"""What the user asked for: a recipe, validated as a whole, all its problems reported at once.

A recipe comes from a YAML file, from keywords, from ``--set a.b=c``, or from all of them; later ones win. What it
leaves open is decided later and recorded with its reason. This module reads no data and no model.
"""

import copy
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from whet import catalog
from whet.core import Choice
from whet.errors import RecipeError, did_you_mean
from whet.sections import RISING, SCHEDULES, Augment, Data, Section, Surgery, Training

HUB = "hub:"
"""Prefix of a data set on a model hub, as in ``hub:owner/name``."""
SUFFIXES = (".yaml", ".yml")
"""Endings of a recipe file."""


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


def _training_rows(value: object) -> object:
    return {"train": value} if isinstance(value, str) else value


class _Options(BaseModel):
    """Options whose names depend on what they are for."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, object]:
        """What was set beside the name."""
        return dict(self.model_extra or {})


class Variant(_Options):
    """A method with its options."""

    name: str


class Wanted(_Options):
    """A task with its options, or options of the task that the data turns out to be for."""

    name: str | None = None


class Recipe(Section):
    """A fine-tuning run as its user wants it."""

    data: Annotated[Data, BeforeValidator(_training_rows, json_schema_input_type=str | Data)]
    """Which rows: a file or folder, or a mapping of the options below."""
    model: str | None = None
    """A folder, or a name on a model hub; without it the embedded MiniLM."""
    surgery: Surgery = Surgery()
    task: Annotated[Wanted, BeforeValidator(_named)] | None = None
    """Kind of problem; inferred from the columns if not named, and options without a name are for what is inferred."""
    method: Annotated[Variant, BeforeValidator(_named)] | None = None
    """Way to fine-tune; advised by rows, task, model and machine if not named (whet advise)."""
    augment: Augment = Augment()
    training: Training = Training()
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of splits, new weights, order of rows and dropout."""


_SECTIONS: dict[str, type[Section]] = {
    "": Recipe,
    "data.": Data,
    "surgery.": Surgery,
    "augment.": Augment,
    "training.": Training,
}


# --- reading --------------------------------------------------------------------------------------------------


def parse(raw: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values; raises RecipeError with every problem that can be seen without the data."""
    problems = [*_conflicts(raw), *_variant_problems(raw)]
    try:
        recipe = Recipe.model_validate({key: catalog.without_truths(value) for key, value in raw.items()})
    except ValidationError as error:
        problems += [catalog.explain(_shorten(problem), hint=_hint(problem)) for problem in error.errors()]
    if problems:
        raise RecipeError(*problems)
    return recipe


def plain(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe from whatever names one: a recipe file, a data set, or a mapping (copied)."""
    if isinstance(source, Mapping):
        return copy.deepcopy(dict(source))
    if Path(source).suffix.lower() in SUFFIXES:
        return read(Path(source))
    return {"data": {"train": str(source)}}


def read(path: Path) -> dict[str, Any]:
    """The plain values of a recipe file; relative data paths in it are taken from the file's own folder."""
    try:
        raw = _load(path.read_text(encoding="utf-8-sig"))
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {_reason(error)}") from None
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: not UTF-8 text, byte {error.start} is 0x{error.object[error.start]:02x}") from None
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}{_nearby(path)}") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path}: a recipe is a mapping such as 'data: {{train: reviews.csv}}', this is not")
    if "data" in raw:
        raw["data"] = data = _training_rows(raw["data"])
        for key in ("train", "validation", "test"):
            if isinstance(data, dict) and isinstance(name := data.get(key), str) and not name.startswith(HUB):
                data[key] = str(path.parent / name)
    augment = raw.get("augment")
    if isinstance(augment, dict) and isinstance(words := augment.get("word_list"), str):
        augment["word_list"] = str(path.parent / words)
    if isinstance(model := raw.get("model"), str) and (path.parent / model / "config.json").is_file():
        raw["model"] = str(path.parent / model)
    return raw


def assign(raw: dict[str, Any], assignments: Iterable[str]) -> None:
    """Set ``a.b=c`` in plain values; raises RecipeError with all that are no assignments.

    c is read as YAML where that makes a number, true or false, null, a [list], a {mapping} or a text in quotes of it;
    anything else is a text as it stands, whatever signs are in it. The texts of a list need no quotes either.
    """
    problems = []
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys) or not text:
            problems.append(f"--set {assignment}: write it as a.b=c, such as training.epochs=5")
            continue
        try:
            put(raw, keys, _value(text))
        except yaml.YAMLError as error:
            problems.append(f"--set {assignment}: not valid YAML: {_reason(error)}; such as [a, b] or {{a: 1, b: 2}}")
    if problems:
        raise RecipeError(*problems)


def name_of(value: object) -> object:
    """The name in plain values of a method or a task, whether it stands alone or beside its options."""
    return value.get("name") if isinstance(value, Mapping) else value


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
    """Dotted paths of all values that the user set; a null that leaves a value open sets nothing."""
    sections: dict[str, Section] = {
        "data": recipe.data,
        "surgery": recipe.surgery,
        "augment": recipe.augment,
        "training": recipe.training,
    }
    paths = _set_in(recipe) - {*sections, *catalog.FOLDERS}
    paths |= {f"{name}.{key}" for name, section in sections.items() for key in _set_in(section)}
    for kind, variant in (("task", recipe.task), ("method", recipe.method)):
        if variant is not None:
            said = {"name": variant.name, **variant.options}
            paths |= {f"{kind}.{key}" for key, value in said.items() if value is not None}
    return paths


def _set_in(section: Section) -> set[str]:
    fields, values = type(section).model_fields, vars(section)
    return {key for key in section.model_fields_set if values[key] is not None or fields[key].default is not None}


# --- writing --------------------------------------------------------------------------------------------------


def dump(values: Mapping[str, Any], choices: Iterable[Choice]) -> str:
    """Plain values as YAML, a line each, in which every value that whet decided carries its reason as a comment."""
    reasons: dict[str, list[str]] = {}
    for choice in choices:
        if choice.origin != "given":
            reasons.setdefault(choice.path, []).append(choice.reason)
    lines = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{key}:")
            lines += [f"  {_line(name, below, reasons.get(f'{key}.{name}'))}" for name, below in value.items()]
        else:
            lines.append(_line(key, value, reasons.get(key)))
    return "\n".join(lines) + "\n"


def schema() -> dict[str, Any]:
    """JSON schema of a recipe, with the options of every method and task, for editors."""
    result = Recipe.model_json_schema()
    for kind in catalog.FOLDERS:
        variants, definitions = catalog.schemas(kind)
        result["$defs"] |= definitions
        if kind == "task":
            # Those of the task that the data turns out to be for.
            variants.append({"type": "object", "not": {"required": ["name"]}})
        named = {"type": "string", "enum": list(catalog.names(kind))}
        result["properties"][kind]["anyOf"] = [named, *variants, {"type": "null"}]
    result["$defs"] = {name: one for name, one in result["$defs"].items() if name not in ("Variant", "Wanted")}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result, "title": "whet recipe"}


# --- problems -------------------------------------------------------------------------------------------------


def _conflicts(raw: Mapping[str, Any]) -> list[str]:
    """Options that are right by themselves and wrong together."""
    training = _mapping(raw.get("training"))
    schedule = name_of(training.get("schedule"))
    problems = _impossible_shares(_mapping(_training_rows(raw.get("data"))))
    if training.get("epochs") is not None and training.get("steps") is not None:
        problems.append("training.epochs and training.steps are both set: keep one of them")
    if training.get("momentum") is not None and training.get("optimizer") != "sgd":
        way_out = "set training.optimizer=sgd or leave it out"
        problems.append(f"training.momentum: applies to optimizer 'sgd' only; {way_out}")
    elif training.get("momentum") is not None and schedule == "one_cycle":
        way_out = "set its lowest_momentum and highest_momentum instead"
        problems.append(f"training.momentum: schedule 'one_cycle' moves the momentum by itself; {way_out}")
    if training.get("warmup") and schedule in RISING:
        problems.append(f"training.warmup: schedule '{schedule}' rises by itself; leave warmup out")
    micro, batch = training.get("micro_batch_size"), training.get("batch_size", _default(Training, "batch_size"))
    if isinstance(micro, int) and isinstance(batch, int) and micro > batch:
        problems.append(f"training.micro_batch_size: {micro} is more than training.batch_size, which is {batch}")
    return problems


def _impossible_shares(data: Mapping[str, Any]) -> list[str]:
    problems, shares = [], {}
    for side in ("validation", "test"):
        option = f"{side}_share"
        share = data.get(option)
        if data.get(side) is None:
            shares[option] = _default(Data, option) if share is None else share
        elif share is not None:
            problems.append(f"data.{option}: data.{side} names the {side} rows already; leave one of the two out")
    if not all(isinstance(share, int | float) and 0 <= share < 1 for share in shares.values()):
        return problems
    if sum(shares.values()) >= 1:
        told = " and ".join(f"data.{option} ({share})" for option, share in shares.items())
        problems.append(f"{told} make 1 or more: no rows are left to train on; 0.1 each is usual")
    return problems


def _default(section: type[Section], option: str) -> Any:
    return section.model_fields[option].default


def _variant_problems(raw: Mapping[str, Any]) -> list[str]:
    problems: list[str] = []
    for kind in catalog.FOLDERS:
        chosen = _mapping(_named(raw.get(kind)))
        if kind == "task" and chosen.get("name") is None:
            problems += catalog.strangers("task", chosen.keys() - {"name"})
        if not isinstance(chosen.get("name"), str):
            continue
        try:
            catalog.build(kind, chosen["name"], {key: value for key, value in chosen.items() if key != "name"})
        except RecipeError as error:
            problems += error.problems
    return problems


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _shorten(problem: ErrorDetails) -> ErrorDetails:
    """Drop the part of a place that only pydantic knows: which schedule was taken."""
    place = problem["loc"]
    return {**problem, "loc": (*place[:2], *place[3:])} if place[:2] == ("training", "schedule") else problem


def _hint(problem: ErrorDetails) -> str:
    *path, last = problem["loc"]
    word = str(last)
    if problem["type"] == "missing":
        if word == "name":
            return f"; known are: {', '.join(catalog.names('task' if path == ['task'] else 'method'))}"
        return "; name a file, as in 'whet train reviews.csv'"
    if problem["type"] in ("model_type", "model_attributes_type"):
        return "" if word in ("surgery", "augment", "training") else ", or a name"
    if problem["type"] != "extra_forbidden":
        return ""
    if path[:2] == ["training", "schedule"]:
        known = [name for name in SCHEDULES[str(path[2])].model_fields if name != "name"]
        return f" of schedule '{path[2]}'{did_you_mean(word, known) or '; it has none'}"
    own = did_you_mean(word, _SECTIONS[f"{path[0]}." if path else ""].model_fields)
    others = _elsewhere(word)
    if others and "did you mean" in own:
        return f"{own[:-1]} or {others}?"
    return f"; did you mean {others}?" if others else own


def _elsewhere(word: str) -> str:
    """Where there is an option of this name, in words; empty where there is none."""
    places = [f"'{prefix}{word}'" for prefix, section in _SECTIONS.items() if word in section.model_fields]
    for kind in catalog.FOLDERS:
        owners = [name for name in catalog.names(kind) if word in [one.name for one in catalog.options(kind, name)]]
        places += [f"'{kind}.{word}' of {', '.join(owners)}"] if owners else []
    return " or ".join(places)


def _nearby(path: Path) -> str:
    """The tail of a message about a file that cannot be read: a recipe of a similar name beside it."""
    if not path.parent.is_dir():
        return f"; there is no folder {path.parent}"
    beside = [file.name for file in path.parent.iterdir() if file.suffix in SUFFIXES and file.name != path.name]
    return did_you_mean(path.name, beside)


# --- YAML -----------------------------------------------------------------------------------------------------


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key that stands twice: the first of the two would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: list[object] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=deep)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key '{key}' stands twice", problem_mark=key_node.start_mark)
            seen.append(key)
        return super().construct_mapping(node, deep)


class _LineDumper(yaml.SafeDumper):
    """YAML in which a text with line ends or control characters is one line of escapes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_LineDumper.add_representer(str, _represent_text)


def _load(text: str) -> Any:
    return yaml.load(text, _StrictLoader)  # noqa: S506  # a SafeLoader


def _reason(error: yaml.YAMLError) -> str:
    """Why and where YAML is not valid, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    return f"{error.problem} in line {mark.line + 1}, column {mark.column + 1}"


def _value(text: str) -> object:
    """The value of an assignment."""
    stripped = text.strip()
    if stripped[:1] == "[" and stripped[-1:] == "]" and not set("[]{}'\"") & set(inside := stripped[1:-1]):
        return [_value(item) for item in inside.split(",")] if inside.strip() else []
    if stripped[:1] in ("[", "{", "'", '"'):
        return _load(stripped)
    if stripped in ("null", "~"):
        return None
    try:
        value = _load(stripped)
    except yaml.YAMLError:
        return stripped or text
    return value if isinstance(value, bool | int | float) else stripped or text


def _line(key: str, value: object, reasons: list[str] | None) -> str:
    dumped: str = yaml.dump(
        value, Dumper=_LineDumper, allow_unicode=True, default_flow_style=True, sort_keys=False, width=10**9
    )
    line = f"{key}: " + dumped.removesuffix("\n...\n").strip()
    if reasons is None:
        return line
    # YAML refuses control characters even in a comment.
    comment = "".join(sign if sign.isprintable() else " " for sign in "; ".join(filter(None, reasons)))
    return f"{line}  # {' '.join(comment.split()) or 'default'}"
