"""Times as people write them."""

import pytest

from whet.errors import RecipeError
from whet.planning.budget import seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20m", 1200), ("90s", 90), ("1h30m", 5400), ("1.5h", 5400), ("2 H", 7200), ("1h 5m", 3900), ("20 minutes", 1200)],
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "20", "soon", "20x", "0m", "20m later", "-5m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="write it as 20m"):
        seconds_of(text)
