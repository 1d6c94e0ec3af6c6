"""Write the reference pages from the code, so that no fact stands twice: ``make docs``."""

import json
from pathlib import Path

from matrix import families, shares, tasks

from whet import catalog, recipe
from whet.core import Defaults
from whet.verbs.explain import explain

REFERENCE = Path(__file__).parent / "reference"


def pages() -> dict[str, str]:
    """File name to content of every generated page."""
    written = {"recipe.schema.json": json.dumps(recipe.schema(), indent=2, ensure_ascii=False) + "\n"}
    written["recipe.md"] = _page("recipe", "The recipe")
    for kind in catalog.FOLDERS:
        for name in catalog.names(kind):
            written[f"{kind}-{name}.md"] = _page(name, f"{kind.capitalize()} `{name}`")
    written["methods.md"] = _methods()
    return written


def _page(name: str, title: str) -> str:
    found = explain(name)
    lines = [f"# {title}", "", found.text, ""]
    if found.options:
        lines += ["| option | type | default | meaning |", "|---|---|---|---|"]
    for option in found.options:
        cells = (f"`{option.name}`", f"`{option.type}`", f"`{option.default}`", " ".join(option.description.split()))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines).rstrip() + "\n"


def _methods() -> str:
    columns = ["learning_rate", "schedule", "warmup", "epochs", "weight_decay", "layer_decay"]
    lines = [
        "# Methods",
        "",
        "Each method has its own defaults, measured on small data or taken from its paper; a recipe can set all.",
        "",
        "| method | what it does | " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name in catalog.names("method"):
        defaults: Defaults = catalog.load("method", name).defaults
        values = [f"{vars(defaults)[column]:g}" if column != "schedule" else defaults.schedule for column in columns]
        lines.append(f"| [{name}](method-{name}.md) | {catalog.summary('method', name)} | {' | '.join(values)} |")
    lines += [
        "",
        "## On which models",
        "",
        "Tried when this page was written, on the models on which the laws of every method run. A number names the",
        "reason of a refusal, below the table. *merges*: the trained model becomes a plain one; *plain*: it is one.",
        "*caches*: what the frozen first blocks return is computed once and for all.",
        "",
        families(),
        "",
        "## For which tasks",
        "",
        "Tried likewise, from the rows to the first step, on a tiny model of the family that is named; the laws of",
        "whole runs train the same ones, save them and ask them.",
        "",
        tasks(),
        "",
        "## How much trains",
        "",
        "Share of all numbers that train, and how many are stored, head included, with the default options.",
        "",
        shares(),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write all pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    for path in REFERENCE.iterdir():
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        (REFERENCE / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
