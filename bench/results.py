"""Ratios pair by pair, shares of the machine's limit, and the tables that show them."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

WHET = "whet"
WIDTH = 140
"""Columns that the tables need; a pipe has fewer."""
MEASURES = ("work_seconds", "whole_seconds", "peak_bytes")
"""What is divided: of the peer by that of whet, so more than 1 speaks for whet."""


@dataclass
class Cell:
    """What was measured for one method on one data set."""

    name: str
    method: str
    least_flops: float
    """What the method needs on the real tokens of all rows."""
    runs: dict[str, list[dict[str, Any]]]
    """For each contender its runs, by pair."""
    counts: dict[str, dict[str, float]] = field(default_factory=dict)
    """For each contender what it computed on the counted rows, beside ``least_flops`` for those."""

    @property
    def peers(self) -> list[str]:
        return [name for name in self.runs if name != WHET]

    def pairs(self, peer: str, measure: str) -> list[float]:
        """Measure of the peer divided by that of whet, for each pair that is complete."""
        both = zip(self.runs[peer], self.runs[WHET], strict=False)
        return [theirs[measure] / ours[measure] for theirs, ours in both]

    def limit(self, contender: str, peak: float) -> dict[str, float]:
        """Share of the machine's peak that went into needed arithmetic on real tokens, and its three factors."""
        seconds = statistics.median(run["work_seconds"] for run in self.runs[contender])
        counted = self.counts[contender]
        share = self.least_flops / (seconds * peak)
        tokens = counted["real_tokens"] / counted["padded_tokens"]
        algorithm = counted["least_flops"] / tokens / counted["flops"]
        return {"share": share, "tokens": tokens, "algorithm": algorithm, "kernel": share / tokens / algorithm}


def summary(cells: list[Cell], machine: Mapping[str, Any]) -> dict[str, Any]:
    """Everything as plain values."""
    return {
        "machine": dict(machine),
        "cells": [_plain(cell, machine["peak"]) for cell in cells if all(cell.runs.values())],
    }


def show(cells: list[Cell], machine: Mapping[str, Any]) -> None:
    """Print the tables."""
    console = Console(width=max(WIDTH, Console().width))
    ratios = Table(title="Trainer / whet: medians of the ratios of pairs (lowest to highest); above 1 whet needs less")
    for column in ("rows", "method", "peer", "pairs", "work", "whole process", "peak memory", "whet", "peer"):
        ratios.add_column(column, justify="left" if column in ("rows", "method", "peer") else "right")
    ratios.columns[-2].header, ratios.columns[-1].header = "accuracy whet", "peer"
    limits = Table(title=f"Share of the peak of this machine ({machine['peak'] / 1e9:,.0f} GFLOP/s, {machine['way']})")
    for column in ("rows", "method", "contender", "share", "useful tokens", "algorithm", "kernel"):
        limits.add_column(column, justify="left" if column in ("rows", "method", "contender") else "right")
    for cell in cells:
        for row in _ratio_rows(cell):
            ratios.add_row(*row)
        for contender in cell.counts:
            found = cell.limit(contender, machine["peak"])
            limits.add_row(cell.name, cell.method, contender, *(f"{100 * value:.1f} %" for value in found.values()))
    console.print(ratios)
    console.print(limits)
    for cell in cells:
        trainable = {name: runs[0]["trainable"] for name, runs in cell.runs.items()}
        if len(set(trainable.values())) > 1:
            console.print(f"{cell.name} {cell.method}: not the same parameters train: {trainable}")


def _ratio_rows(cell: Cell) -> Iterator[list[str]]:
    for peer in cell.peers:
        pairs = {measure: cell.pairs(peer, measure) for measure in MEASURES}
        told = [f"{statistics.median(some):.2f} ({min(some):.2f} to {max(some):.2f})" for some in pairs.values()]
        scores = [f"{_accuracy(cell, contender):.4f}" for contender in (WHET, peer)]
        way = cell.runs[peer][0]
        told_peer = f"{peer} ({'bf16' if way['bf16'] else 'fp32'}, {way['threads']} threads)"
        yield [cell.name, cell.method, told_peer, str(len(pairs["work_seconds"])), *told, *scores]


def _accuracy(cell: Cell, contender: str) -> float:
    return statistics.mean(float(run["test"]) for run in cell.runs[contender])


def _plain(cell: Cell, peak: float) -> dict[str, Any]:
    return {
        "set": cell.name,
        "method": cell.method,
        "ratios": {
            peer: {
                measure: {"median": statistics.median(pairs), "pairs": pairs}
                for measure in MEASURES
                if (pairs := cell.pairs(peer, measure))
            }
            for peer in cell.peers
        },
        "accuracy": {contender: _accuracy(cell, contender) for contender in cell.runs},
        "limit": {contender: cell.limit(contender, peak) for contender in cell.counts if contender in cell.runs},
        "least_flops": cell.least_flops,
        "counts": cell.counts,
        "runs": cell.runs,
    }
