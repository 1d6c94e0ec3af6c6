"""whet predict"""

from pathlib import Path
from typing import Annotated

import typer

FILES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    inputs: Annotated[list[str], typer.Argument(help="Texts, or one file. Two texts per row for a model of pairs.")],
    to: Annotated[Path | None, typer.Option(help="Write the rows of the file with their answers here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print answers with all probabilities as JSON.")] = False,
) -> None:
    """Ask a fine-tuned model about texts or about every row of a file."""
    from rich.console import Console

    from whet.cli.output import answers_table
    from whet.errors import DataError, RecipeError
    from whet.verbs import predict as verb
    from whet.verbs.run import Run

    opened = Run(run)
    if len(inputs) == 1 and (Path(inputs[0]).is_file() or Path(inputs[0]).suffix in FILES):
        rows, answers = opened.answer_file(inputs[0])
        if as_json:
            typer.echo(verb.as_json(answers))
        elif to is not None:
            verb.write(rows, answers, to)
            typer.echo(f"{len(answers):,} answers in {to}")
        else:
            verb.write(rows, answers, Path("/dev/stdout"))
        return
    if to is not None:
        raise RecipeError("--to: is for the rows of a file; texts are answered on the screen")
    width = opened.texts_per_row
    if len(inputs) % width:
        raise DataError(f"{len(inputs)} texts: this model reads {width} per row; give them in pairs")
    pairs: list[str | tuple[str, ...]] = [tuple(inputs[i : i + width]) for i in range(0, len(inputs), width)]
    answers = opened.predict(pairs)
    if as_json:
        typer.echo(verb.as_json(answers))
    else:
        Console().print(answers_table([" | ".join(pair) for pair in pairs], answers))
