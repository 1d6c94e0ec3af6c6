"""whet predict"""

from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="The run folder.")],
    inputs: Annotated[
        list[str], typer.Argument(help="Texts, or one table; pictures, sounds or folders of them for a model of these.")
    ],
    to: Annotated[
        Path | None, typer.Option(help="Write the rows of the file with their answers to this csv, tsv or jsonl file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print answers with all probabilities as JSON.")] = False,
) -> None:
    """Ask a fine-tuned model about texts, about every row of a file, or about pictures or sounds.

    A model of pairs takes two texts for each row.
    """
    from rich.console import Console

    from whet.cli.output import answers_table, written
    from whet.data.media import shown
    from whet.errors import DataError, RecipeError
    from whet.verbs import predict as verb
    from whet.verbs.run import Run

    file = _file(inputs)
    media = [text for text in inputs if _is_medium(text)]
    if to is not None and file is None and not media:
        raise RecipeError("--to: is for the rows of a file; texts are answered on the screen")
    if to is not None:
        verb.refuse_target(to)
    opened = Run(run)
    # A word may be the name of a folder too.
    files = [name for name in media if Path(name).is_file()]
    if files and opened.medium is None:
        raise DataError(f"'{files[0]}' is no table, and this model reads texts; give texts, or one table")
    if file is not None or opened.medium is not None:
        rows, answers = opened.answer_media(inputs) if file is None else opened.answer_file(file)
        if to is not None:
            verb.write(rows, answers, to)
        if as_json:
            typer.echo(verb.as_json(answers))
        elif to is not None:
            typer.echo(f"{len(answers):,} answer{'' if len(answers) == 1 else 's'} in {to}")
        elif file is None:
            names = [shown(cell) for cell in next(iter(rows.columns.values()))]
            Console().print(answers_table(names, answers))
        else:
            verb.show(rows, answers)
        return
    width = opened.texts_per_row
    if len(inputs) % width:
        raise DataError(f"{len(inputs)} texts: this model reads {width} per row; give them in pairs")
    pairs: list[str | tuple[str, ...]] = [tuple(inputs[i : i + width]) for i in range(0, len(inputs), width)]
    answers = opened.predict(pairs)
    if as_json:
        typer.echo(verb.as_json(answers))
    elif opened.writes:
        written(Console(), inputs, answers)
    else:
        Console().print(answers_table([" | ".join(pair) for pair in pairs], answers))


def _file(inputs: list[str]) -> Path | None:
    """The file among the inputs, or the one that is meant but absent; None where all are texts."""
    from whet.data.source import SUFFIXES
    from whet.errors import RecipeError

    files = [text for text in inputs if _is_file(text) and not _is_medium(text)]
    if files and len(inputs) > 1:
        raise RecipeError(f"'{files[0]}' is a file, and {len(inputs)} inputs are given; give one file, or texts alone")
    if len(inputs) == 1 and (files or Path(inputs[0]).suffix.lower() in SUFFIXES):
        return Path(inputs[0])
    return None


def _is_medium(text: str) -> bool:
    """Whether this is a file of a picture or a sound, or a folder."""
    from whet.data.media import medium_of

    try:
        return bool(text) and (Path(text).is_dir() or (medium_of(text) is not None and Path(text).is_file()))
    except OSError:
        return False


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:
        # Most texts are no path at all: too long for one.
        return False
