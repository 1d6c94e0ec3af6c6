"""A run that is broken off and taken up again, beside the same run in one piece."""

from io import StringIO
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import load_file

import whet
from whet import recipe as recipes
from whet.events import Step
from whet.verbs.session import Session
from whet.verbs.train import watch


def assert_resumed_is_whole(recipe: dict[str, Any], folder: Path) -> None:
    """Both end with the same scores and the same bits."""
    recipe["training"] |= {"checkpoint_every": 2}
    whole = whet.train(recipe, out=folder / "whole", quiet=True)
    session = Session.start(recipes.parse(recipe), folder / "broken")
    for event in session.events():
        if isinstance(event, Step) and event.step == 5:
            session.stop.make("a test")
    assert session.interrupted is not None
    again, _ = Session.resume(folder / "broken")
    resumed = watch(again, Console(file=StringIO()))
    assert resumed.test == whole.test
    files = list((whole.folder / "model").glob("*.safetensors"))
    assert files
    for file in files:
        one, other = load_file(file), load_file(resumed.folder / "model" / file.name)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)
