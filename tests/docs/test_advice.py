"""The page about the advice has the rules that the code has."""

from pathlib import Path

from whet.planning.advise import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "advice.md"


def test_every_rule_stands_on_the_page_as_it_is() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    for rule in TABLE:
        row = f"| {rule.when} | `{rule.first}` | `{rule.second}` | {rule.why} | {rule.source} |"
        assert row in rows, "run: python bench/advice.py with --table, or mend the page"
