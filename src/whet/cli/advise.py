"""whet advise"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from whet.cli.options import Source, Task, plain_recipe

if TYPE_CHECKING:
    from rich.console import Console

    from whet.verbs.advise import Advised


def advise(
    source: Source,
    model: Annotated[
        str | None, typer.Option(help="A folder or a name on a model hub; without it some are suggested.")
    ] = None,
    task: Task = None,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Plan for a time such as 20m: times a few steps of candidates.")
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Try how much the model knows already: one pass over 2,000 rows at most.")
    ] = False,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="A.B=C", help="Any value of the recipe, as data.label=topic.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print advice and facts as JSON.")] = False,
) -> None:
    """Say which method to use, with which model, and why; nothing is trained.

    Goes by the rows of each class, the task, the size of the model and the machine. 'whet train' without a method does
    what this says.
    """
    from rich.console import Console

    from whet import recipe as recipes

    raw = plain_recipe(source, assignments, model, task)
    recipes.parse(raw)

    # Only a recipe without a mistake is worth the seconds that torch takes to load.
    from whet.cli.output import print_json
    from whet.verbs import advise as verb

    console = Console(stderr=as_json)
    with console.status(
        "reading the data" if not (probe or budget) else "reading the data, and trying the model on it"
    ):
        advised = verb.run(raw, source, assignments or [], budget=budget, probed=probe)
    if as_json:
        print_json(_plain(advised))
    else:
        _show(console, advised)


def _plain(advised: Advised) -> dict[str, Any]:
    """The advice as values of JSON."""
    from dataclasses import asdict

    advice, facts = advised.advice, asdict(advised.facts)
    if advised.facts.probe is not None:
        facts["probe"]["gain"] = advised.facts.probe.gain
    picks = {
        name: {"recipe": pick.recipe, "seconds": advised.seconds.get(str(pick))}
        for name, pick in (("first", advice.first), ("second", advice.second))
    }
    return {
        **picks,
        "rule": advice.rule,
        "why": advice.why,
        "source": advice.source,
        "notes": list(advice.notes),
        "facts": facts,
        "language": advised.language,
        "model": advised.model,
        "backbones": [asdict(one) for one in advised.backbones],
        "command": advised.command,
    }


def _show(console: Console, advised: Advised) -> None:
    """The advice for a person: what to do, why, what it rests on, which models there are, what to type."""
    from rich.table import Table
    from rich.text import Text

    from whet.report.writing import count, duration, plain

    advice = advised.advice
    console.print(Text(plain(_facts(advised)), style="dim"), soft_wrap=True)
    console.print()
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for name, pick in (("First choice", advice.first), ("Second choice", advice.second)):
        if name == "First choice" or pick != advice.first:
            seconds = advised.seconds.get(str(pick))
            taken = "" if seconds is None else f"about {duration(seconds)}"
            table.add_row(Text(name), Text(str(pick), style="bold"), Text(taken, style="dim"))
    console.print(table)
    console.print()
    console.print(Text(f"Why: {advice.why}."))
    console.print(Text(f"The rule: {advice.rule}. Source: {advice.source}.", style="dim"))
    for note in advice.notes:
        console.print(Text(f"{note}."))
    if advised.backbones:
        console.print()
        here = f"the embedded {advised.model}, so no network is needed" if advised.here else "none is embedded for this"
        better = "" if advised.language in (None, "English") else "; it was trained on English, these are better here"
        console.print(Text(f"No model was named: {here}{better}. Models of the hub:"))
        models = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        models.add_column(no_wrap=True, min_width=max(len(one.name) for one in advised.backbones) + 2)
        models.add_column(no_wrap=True)
        for one in advised.backbones:
            if not one.name.endswith(advised.model):
                told = f"{one.licence}; {one.why}{PICKLED if one.pickled else ''}"
                size = count(round(one.parameters * 1e6))
                models.add_row(Text(f"  {one.name}"), Text(size), Text(told, style="dim"))
        console.print(models)
    console.print()
    console.print(Text(advised.command, style="bold"), soft_wrap=True)


PICKLED = "; pickled when last seen: whet says how to convert"


def _facts(advised: Advised) -> str:
    """What the advice goes by, in a line or two."""
    from whet.report.writing import count

    facts = advised.facts
    told = [f"{facts.rows:,} training rows of {advised.data}", facts.task]
    if facts.classes is not None:
        told.append(f"{facts.classes} classes, {facts.each:.0f} rows each, {facts.rarest} of the rarest")
    if advised.language is not None:
        language = advised.language if advised.language != "other" else "neither English nor Korean"
        told.append(f"{language}, half of the texts have up to {advised.length} characters")
    told.append(f"{advised.model}, {count(facts.parameters)} parameters")
    machine = "a GPU with" if facts.device == "gpu" else "no GPU,"
    told.append(f"{machine} {facts.memory / 2**30:.0f} GiB")
    if facts.probe is not None:
        told.append(
            f"a linear probe gets {100 * facts.probe.score:.1f} where the most frequent answer gets "
            f"{100 * facts.probe.majority:.1f}: it gains {100 * facts.probe.gain:.0f} % of what there is to gain"
        )
    return "; ".join(told)
