"""whet methods"""

from typing import Annotated

import typer


def methods(as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False) -> None:
    """List the ways to fine-tune."""
    from dataclasses import asdict

    from rich.console import Console

    from whet.cli.output import names_table, print_json
    from whet.verbs.methods import methods as verb

    found = verb()
    if as_json:
        print_json([asdict(method) for method in found])
        return
    console = Console()
    console.print(names_table({method.name: method.summary for method in found}))
    console.print("\nMore about one of them: whet explain NAME", style="dim", highlight=False)
