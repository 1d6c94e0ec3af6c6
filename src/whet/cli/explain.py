"""whet explain"""

from typing import Annotated

import typer


def explain(
    name: Annotated[str, typer.Argument(help="A method, a task, a check such as R001, or 'recipe'.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the JSON schema of its options.")] = False,
) -> None:
    """Explain a method, a task, a check, or the recipe, with all options."""
    from rich.console import Console

    from whet.cli.output import explanation, print_json
    from whet.verbs.explain import explain as verb

    found = verb(name)
    if as_json:
        print_json(found.schema)
    else:
        explanation(Console(), found)
