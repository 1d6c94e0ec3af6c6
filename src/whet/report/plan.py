"""What a person reads of a plan in a terminal: a line for each method, and what its memory is made of.

Pure rendering of values; knows no model and no machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from whet.planning.planned import Plan, Planned
from whet.report.writing import count, duration, plain, share, size

TERMS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimiser",
    "best": "best weights",
    "activations": "activations",
    "logits": "logits",
    "cache": "cache",
    "data": "data",
    "runtime": "runtime",
}
"""What a term of the memory is called."""


def show(console: Console, plan: Plan, *, terms: bool = False) -> None:
    """Print the plan; with ``terms`` the memory of each method in parts."""
    console.print(Text(_about(plan), style="bold"), soft_wrap=True)
    console.print()
    console.print(_table(plan))
    if terms:
        console.print()
        console.print(_terms(plan))
    for line in _remarks(plan):
        console.print(Padding(Text(plain(line), style="dim"), (1, 0, 0, 0)))
    if plan.refused:
        console.print()
        console.print(Text("Not with this model", style="bold"))
    for name, reason in plan.refused.items():
        console.print(Text(f"  {name}: ", style="dim").append(plain(reason), style="not dim"), soft_wrap=True)


def _about(plan: Plan) -> str:
    rows = "" if plan.rows is None else f"{plan.rows:,} rows, "
    seen = any(planned.measured for planned in plan.methods)
    how = "a few steps were measured" if seen else "computed from shapes, no weight was read"
    return plain(
        f"{plan.model}: {rows}batches of {plan.batch_size}, rows of up to {plan.longest:,} tokens, on {plan.machine} "
        f"with {size(plan.room)} free ({how})"
    )


def _table(plan: Plan) -> Table:
    timed = any(planned.duration is not None for planned in plan.methods)
    head = ["method", "trains", "stores", "memory", *(["epoch", "in all"] if timed else []), "disk", "fits"]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in head:
        justify: Literal["left", "right"] = "left" if name in ("method", "fits") else "right"
        table.add_column(name, justify=justify, no_wrap=name not in ("trains", "fits"))
    for planned in plan.methods:
        lasts = planned.duration
        table.add_row(
            Text(planned.method, style="bold"),
            f"{count(planned.trainable)} ({share(planned.trainable, planned.total)})",
            count(planned.stored),
            size(planned.fit.memory.total),
            *([duration(lasts.epoch) if lasts else "-", duration(lasts.total) if lasts else "-"] if timed else []),
            size(planned.disk),
            _fits(planned, plan.batch_size),
        )
    return table


def _fits(planned: Planned, batch_size: int) -> Text:
    if not planned.fit.fits:
        return Text("no", style="red")
    return Text("adjusted", style="yellow") if planned.fit.assignments(batch_size) else Text("yes", style="green")


def _terms(plan: Plan) -> Table:
    """A line for each method, the largest term first."""
    moments = {"step": "a step", "evaluation": "reading rows", "best": "copying the best weights"}
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for planned in plan.methods:
        memory = planned.fit.memory
        parts = sorted(memory.terms.items(), key=lambda term: -term[1])
        told = ", ".join(f"{TERMS[name]} {size(part)}" for name, part in parts if part)
        table.add_row(Text(planned.method, style="bold"), f"{told}; highest at {moments[memory.moment]}")
    return table


def _remarks(plan: Plan) -> Iterator[str]:
    for planned in plan.methods:
        settings = planned.fit.assignments(plan.batch_size)
        if planned.fit.fits and settings:
            yield f"{planned.method} fits with --set {' --set '.join(settings)}: {planned.fit.reason}"
    too_much = [planned.method for planned in plan.methods if not planned.fit.fits]
    if too_much:
        yield f"{', '.join(too_much)}: shown is the least that any setting needs; {_way_out(plan)}"
    for planned in plan.methods:
        if planned.estimated:
            why = planned.estimated
            yield f"{planned.method}: memory is estimated from the sizes of the layers, as tracing failed ({why})"


def _way_out(plan: Plan) -> str:
    fitting = [planned for planned in plan.methods if planned.fit.fits]
    if not fitting:
        return "take a smaller model, or shorter rows"
    least = min(fitting, key=lambda planned: planned.fit.memory.total)
    return f"what fits needs {size(least.fit.memory.total)} or more, such as method '{least.method}'"
