"""What tasks share whose rows are sounds: how they are changed, what stays as it was pre-trained, what is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from whet.core import Choice, Examples, Mask, Medium, Parts, Rows


class Hears:
    """From files of sound to clips; what is answered is the task's own."""

    medium: ClassVar[Medium] = "sound"
    changes: ClassVar[tuple[str, ...]] = ("gain", "noise", "shift", "speed", "mask_time", "mask_bands")

    if TYPE_CHECKING:

        @property
        def feature_encoder(self) -> Literal["frozen", "trained"]: ...

    def examine(self, rows: Rows, column: str) -> tuple[list[str], dict[int, str]]:
        """What each file holds, and which cannot be heard."""
        from whet.data.sound import examine

        return examine(rows, column)

    def spared(self, parts: Parts) -> Mask:
        """The convolutions that read the wave, where they stay as they are."""
        from whet.model.hearing import feature_encoder

        return feature_encoder(parts) if self.feature_encoder == "frozen" else frozenset()

    def told(self, examples: Mapping[str, Examples]) -> list[Choice]:
        """What was cut, and what was filled up."""
        from whet.data.clips import told

        return told(examples)
