"""Is the advice good? Every method on parts of public data sets, beside the method that whet advises.

    python bench/advice.py --data DIR --models DIR --out advice.json
    python bench/advice.py --data DIR --models DIR --out advice.json --table docs/explanation/advice.md

DIR holds a folder for each data set (see small_sets.py), and one for each model. All methods train on the same rows
with whet's own defaults and for as many epochs as whet advises for so few rows; ``full`` also for as many as ever. Each
case runs in fresh processes, on one thread. What was measured stands in a journal beside --out (.jsonl): a bench
that was broken off goes on there.

A difference between two methods has the standard error of a paired comparison: that of the mean over test rows of
right (1) or wrong (0) by the one minus the same by the other. The best of a dozen scores is too high by chance, so the
advised method looks worse than it is.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import small_sets
from processes import Journal, run
from small_sets import CASES, Case

from whet.planning.advise import TABLE, Advice, Facts, Probe, advise, epochs_for

HERE = Path(__file__).resolve().parent
USUAL = ", as ever"
"""Ends the name of a contender that trains for its method's own number of epochs, however few rows there are."""
WAVES = (
    ("full", "lora", "head", "last_blocks"),
    (f"full{USUAL}", "lp_ft"),
    ("adapter", "bitfit", "gradual"),
)
"""Contenders; the later ones are trained when the earlier ones are done for all cases."""
VALIDATION = 0.1
ADVISED, PROBED = "advised", "advised after a probe"
MARKS = {"rules": ("<!-- rules -->", "<!-- end rules -->"), "measured": ("<!-- measured -->", "<!-- end -->")}
"""Between which a page's generated parts stand."""
NOTHING = Facts("", "", rows=0, parameters=0)
"""Before the facts of a case are known."""


@dataclass
class Measured:
    """What is known of one case: contender to its runs, one for each seed."""

    case: Case
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    advice: dict[str, Advice] = field(default_factory=dict)
    """What was advised, without and with a probe."""
    facts: Facts = NOTHING

    def score(self, name: str) -> float:
        """Mean over the seeds."""
        return statistics.mean(run["test"] for run in self.runs[name])

    def trained(self) -> list[str]:
        """Contenders of which there is a score."""
        return [name for name, runs in self.runs.items() if runs and all("test" in run for run in runs)]

    def best(self) -> str:
        """The contender with the best score."""
        return max(self.trained(), key=self.score)

    def error(self, one: str, other: str) -> float:
        """Standard error of the difference of two contenders, over the test rows of all seeds."""
        pairs = [
            (int(a) - int(b))
            for x, y in zip(self.runs[one], self.runs[other], strict=True)
            for a, b in zip(x["right"], y["right"], strict=True)
        ]
        if self.runs[one] == self.runs[other]:
            return 0.0
        if not pairs:
            score = self.score(one)
            return math.sqrt(score * (1 - score) / self.case.test_rows)
        return statistics.pstdev(pairs) / math.sqrt(len(pairs))


class Bench:
    """One call of the bench."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self.asked = asked
        self.scratch = scratch
        self.journal = Journal(asked.out.with_suffix(".jsonl"))

    def measure(self) -> list[Measured]:
        """Run everything that is not in the journal yet."""
        cases = {case.name: Measured(case) for case in CASES if case.name in self.asked.cases}
        self._know(list(cases.values()))
        for wave in WAVES[: self.asked.waves]:
            for found in cases.values():
                for seed in self.asked.seeds:
                    self._train(found, seed, self._contenders(found, wave))
        for found in cases.values():
            for kind, facts in ((ADVISED, replace(found.facts, probe=None)), (PROBED, found.facts)):
                found.advice[kind] = advised = advise(facts)
                for seed in self.asked.seeds:
                    self._train(found, seed, {kind: advised.first.recipe})
        return list(cases.values())

    def _contenders(self, found: Measured, wave: tuple[str, ...]) -> dict[str, dict[str, Any]]:
        """Name to what its recipe says beside the data."""
        made = {}
        rows, classes = round(found.case.rows * (1 - VALIDATION)), found.facts.classes
        for name in wave:
            method = name.removesuffix(USUAL)
            epochs = epochs_for(method, rows, classes=classes)
            longer = epochs != epochs_for(method, 10**9)
            if name == method or longer:
                made[name] = {"method": {"name": method}}
            if name == method and longer:
                made[name]["training"] = {"epochs": epochs}
        return made

    def _train(self, found: Measured, seed: int, contenders: dict[str, dict[str, Any]]) -> None:
        files = small_sets.prepare(found.case, self.asked.data, self.scratch / found.case.name)
        common = small_sets.recipe(found.case, files, self.asked.models, seed)
        about = {name: self._about(found.case, seed, recipe) for name, recipe in contenders.items()}
        missing = {name: common | contenders[name] for name in contenders if self.journal.known(about[name]) is None}
        trained = self._run("train_all.py", missing) if missing else {}
        for name in contenders:
            result = self.journal.once(about[name], lambda name=name: trained[name])
            found.runs[name].append(result)
            if name in missing:
                told = result.get("refused") or f"{result['metric']} {100 * result['test']:.1f}"
                print(f"{found.case.name:18} seed {seed} {name:22} {told}", flush=True)

    def _run(self, script: str, recipes: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        told = self.scratch / "recipes.json"
        told.write_text(json.dumps(recipes), encoding="utf-8")
        output = run([str(HERE / script), str(told)], self.scratch, threads=1).output
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        return {line.pop("name"): line for line in lines}

    def _know(self, cases: list[Measured]) -> None:
        """The facts of each case, a probe included."""
        about = {one.case.name: {"facts of": asdict(one.case)} for one in cases}
        recipes = {}
        for one in cases:
            if self.journal.known(about[one.case.name]) is None:
                files = small_sets.prepare(one.case, self.asked.data, self.scratch / one.case.name)
                recipes[one.case.name] = small_sets.recipe(one.case, files, self.asked.models, 0)
        found = self._run("facts.py", recipes) if recipes else {}
        for one in cases:
            name = one.case.name
            told = dict(self.journal.once(about[name], lambda name=name: found[name])["facts"])
            probe = told.pop("probe")
            one.facts = Facts(**told, probe=Probe(**probe) if probe else None)

    def _about(self, case: Case, seed: int, recipe: dict[str, Any]) -> dict[str, Any]:
        return {
            "case": case.name,
            "rows": case.rows,
            "test_rows": case.test_rows,
            "task": case.task,
            "seed": seed,
            "recipe": {"method": recipe["method"], "training": recipe.get("training", {})},
        }


# --- what it says ---------------------------------------------------------------------------------------------


def table(found: list[Measured]) -> list[str]:
    """A line of Markdown for each case: the advice beside the best of all contenders."""
    lines = [
        "| data, training rows | best of all | advised | behind | advised after a probe | behind | gain of a probe |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in found:
        best = one.best()
        cells = [one.case.name, f"{best} {_percent(one.score(best))}"]
        for kind in (ADVISED, PROBED):
            behind = 100 * (one.score(best) - one.score(kind))
            name = str(one.advice[kind].first)
            error = 100 * one.error(best, kind)
            cells += [f"{name} {_percent(one.score(kind))}", f"{behind:.1f} ± {error:.1f}"]
        cells.append("-" if one.facts.probe is None else f"{one.facts.probe.gain:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def scores_table(found: list[Measured]) -> list[str]:
    """A line of Markdown for each case: what every contender has."""
    names = [name for wave in WAVES for name in wave if any(name in one.trained() for one in found)]
    lines = [f"| data, training rows | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for one in found:
        trained, best = one.trained(), one.best()
        cells = [_percent(one.score(name)) if name in trained else "-" for name in names]
        cells = [f"**{cell}**" if name == best else cell for name, cell in zip(names, cells, strict=True)]
        lines.append(f"| {one.case.name} | {' | '.join(cells)} |")
    return lines


def verdict(found: list[Measured], kind: str) -> str:
    """How often the advice is within a point of the best, and how far it is behind at most."""
    behind = [100 * (one.score(one.best()) - one.score(kind)) for one in found]
    within = sum(gap <= 1.0 + 1e-9 for gap in behind)
    noise = sum(
        gap <= max(1.0, 100 * one.error(one.best(), kind)) + 1e-9 for gap, one in zip(behind, found, strict=True)
    )
    return (
        f"{kind}: within 1 point of the best in {within} of {len(found)}, within 1 point or one standard error in "
        f"{noise}; at most {max(behind):.1f} points behind, {statistics.mean(behind):.1f} on average"
    )


def left_out(found: list[Measured]) -> list[str]:
    """Each case with the pick that the other cases of its rule would have made, and how far that is behind."""
    lines = []
    for one in found:
        rule = one.advice[PROBED].rule
        others = [o for o in found if o.advice[PROBED].rule == rule and o.case.folder != one.case.folder]
        names = [n for n in one.trained() if n not in (ADVISED, PROBED) and all(n in o.trained() for o in others)]
        if not others or not names:
            lines.append(f"{one.case.name}: no other data set falls under '{rule}'")
            continue
        pick = min(names, key=lambda name: sum(o.score(o.best()) - o.score(name) for o in others))
        behind = 100 * (one.score(one.best()) - one.score(pick))
        lines.append(f"{one.case.name}: '{rule}' without it picks {pick}, {behind:.1f} points behind")
    return lines


def rules() -> list[str]:
    """The table of rules in Markdown."""
    lines = ["| when | first | second | why | source |", "|---|---|---|---|---|"]
    return lines + [
        f"| {rule.when} | `{rule.first}` | `{rule.second}` | {rule.why} | {rule.source} |" for rule in TABLE
    ]


def _replaced(page: str, begin: str, end: str, lines: list[str]) -> str:
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{rest.partition(end)[2]}"


def _percent(score: float) -> str:
    return f"{100 * score:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [case.name for case in CASES]
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("advice.json"))
    parser.add_argument("--cases", nargs="+", default=names, choices=names, metavar="CASE", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--waves", type=int, default=len(WAVES), help="how many groups of contenders; default all")
    parser.add_argument("--table", type=Path, help="a page in which the measured part is written anew")
    asked = parser.parse_args()
    asked.data, asked.models, asked.out = asked.data.resolve(), asked.models.resolve(), asked.out.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            found = Bench(asked, Path(scratch)).measure()
        except KeyboardInterrupt:
            raise SystemExit("stopped; the same command goes on where this one was") from None
    asked.out.write_text(json.dumps([{"case": one.case.name, "runs": one.runs} for one in found], indent=1))
    lines = [*table(found), "", *(f"- {verdict(found, kind)}" for kind in (ADVISED, PROBED)), ""]
    lines += ["Scores of all contenders on the test rows, in percent:", "", *scores_table(found), ""]
    lines += ["Each data set left out:", "", *(f"- {line}" for line in left_out(found))]
    sys.stdout.write("\n".join(lines) + "\n")
    if asked.table is not None:
        page = asked.table.read_text(encoding="utf-8")
        for part, made in (("rules", rules()), ("measured", lines)):
            page = _replaced(page, *MARKS[part], made)
        asked.table.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
