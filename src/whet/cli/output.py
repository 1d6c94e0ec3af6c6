"""How the command line prints small things; all text is shown as it is, never read as markup."""

import json
from collections.abc import Mapping, Sequence

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whet.core import Answer, Entity, Scores
from whet.report.writing import plain
from whet.verbs.explain import Explanation


def print_json(value: object) -> None:
    """A value as JSON on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def names_table(entries: Mapping[str, str]) -> Table:
    """Names with what they mean."""
    table = _table()
    for name, meaning in entries.items():
        table.add_row(Text(name, style="bold"), Text(meaning))
    return table


def scores_table(scores: Scores) -> Table:
    """Metrics with their values."""
    table = _table()
    for name, value in scores.items():
        table.add_row(Text(name, style="dim"), Text(f"{value:.4f}"))
    return table


def answers_table(texts: Sequence[str], answers: Sequence[Answer]) -> Table:
    """An answer per text, with its probability where it has one."""
    table = _table()
    for text, answer in zip(texts, answers, strict=True):
        if isinstance(answer.label, float):
            said, sure = f"{answer.label:.4g}", ""
        elif isinstance(answer.label, list):
            said, sure = ", ".join(_told(one, answer.scores) for one in answer.label) or "none", ""
        else:
            said, sure = answer.label, f"{answer.scores[answer.label]:.0%}" if answer.scores else ""
        shown = Text(plain(text).replace("\n", " "), style="dim", overflow="ellipsis", no_wrap=True)
        table.add_row(Text(plain(said), style="bold"), Text(sure), shown)
    return table


def _told(one: str | Entity, scores: Scores) -> str:
    """One of several answers for a text."""
    if isinstance(one, Entity):
        return f"{one.text} ({one.label}, {one.probability:.0%})"
    return f"{one} {scores[one]:.0%}" if one in scores else one


def written(console: Console, texts: Sequence[str], answers: Sequence[Answer]) -> None:
    """Texts that a model wrote, each behind its prompt; a single one stands alone, so that it can be piped on."""
    for text, answer in zip(texts, answers, strict=True):
        if len(texts) > 1:
            console.print(Text(plain(text).replace("\n", " "), style="dim"), soft_wrap=True)
        console.print(Text(plain(str(answer.label))), soft_wrap=True)


def explanation(console: Console, found: Explanation) -> None:
    """A documentation text and the options below it."""
    for paragraph in found.text.split("\n\n"):
        console.print(Text(" ".join(paragraph.split()) + "\n"))
    if not found.options:
        if found.kind != "check":
            console.print(Text(f"The {found.kind} '{found.name}' has no options.", style="dim"))
        return
    console.print(Text("Options", style="bold"))
    for option in found.options:
        default = "" if option.required else f" = {option.default!r}"
        console.print(Text(f"  {option.name}", style="bold").append(f": {option.type}{default}", style="dim"))
        console.print(Padding(Text(" ".join(option.description.split())), (0, 0, 0, 4)))


def _table() -> Table:
    return Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
