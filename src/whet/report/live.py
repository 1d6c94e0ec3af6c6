"""A bar that lives in a terminal while something runs, and is not there in a file."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live


class LiveBar(ABC):
    """Shows a bar, five times a second, from the beginning of a ``with`` block to its end; then it goes away."""

    def __init__(self, console: Console) -> None:
        """Asks for the bar at once, so it comes last in the ``__init__`` of a child."""
        self._console = console
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(get_renderable=self._bar, console=console, refresh_per_second=5, transient=True)

    @abstractmethod
    def _bar(self) -> RenderableType: ...

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_live:
            self._live.stop()
