"""whet evaluate"""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    data: Annotated[Path, typer.Argument(help="A file as for training, or a folder for each class.")],
    to: Annotated[
        Path | None, typer.Option(help="Write the rows with their answers to this csv, tsv or jsonl file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Measure a fine-tuned model on another labelled file."""
    from rich.console import Console
    from rich.text import Text

    from whet.cli.output import print_json, scores_table
    from whet.verbs.predict import refuse_target, write
    from whet.verbs.run import Run

    if to is not None:
        refuse_target(to)
    console = Console(stderr=as_json)
    with console.status("reading the model"):
        opened = Run(run)
        evaluation = opened.evaluate(data)
    if to is not None:
        write(evaluation.rows, evaluation.answers, to)
    if as_json:
        print_json({"rows": len(evaluation.rows), **evaluation.scores})
    else:
        count = len(evaluation.rows)
        console.print(Text(f"{count:,} row{'' if count == 1 else 's'} of {data}"), soft_wrap=True)
        console.print(scores_table(evaluation.scores))
