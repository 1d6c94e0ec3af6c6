"""whet report"""

from pathlib import Path
from typing import Annotated

import typer

from whet.cli.options import Quiet


def report(
    runs: Annotated[
        list[Path], typer.Argument(help="A run folder, several of them, or the folder of a comparison or of a search.")
    ],
    out: Annotated[Path | None, typer.Option(help="The file to write; report.html in the folder if not named.")] = None,
    language: Annotated[str, typer.Option("--lang", help="Language of the page: en or ko.")] = "en",
    in_terminal: Annotated[
        bool, typer.Option("--terminal", help="Print the report here instead of writing a page.")
    ] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict and the file as JSON.")] = False,
) -> None:
    """Write one self-contained page about a run, a comparison or a search: verdict, curves, mistakes, costs."""
    from rich.console import Console
    from rich.text import Text

    from whet.verbs import report as verb

    if in_terminal:
        from whet.errors import RecipeError
        from whet.report import screen
        from whet.report.words import Words

        asked = {"--out": out is not None, "--lang": language != "en", "--open": show, "--json": as_json}
        if idle := [name for name, given in {**asked, "--quiet": quiet}.items() if given]:
            raise RecipeError(
                f"--terminal prints the report, in English, and writes no page; leave out {', '.join(idle)}"
            )
        screen.show(Console(), verb.content(runs, Words()))
        return
    written = verb.write_report(runs, out=out, language=language)
    if as_json:
        from whet.cli.output import print_json

        print_json({"report": str(written.path), "verdict": written.verdict, "sentences": written.sentences})
    else:
        console = Console(quiet=quiet)
        console.print(Text(written.verdict, style="bold"))
        console.print(Text(f"written to {written.path}", style="dim"), soft_wrap=True)
    if show:
        typer.launch(written.path.resolve().as_uri())
