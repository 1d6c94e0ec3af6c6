"""Pictures and sounds of a data set inside of a page: small, and as text, so that the page needs no other file.

The files lie where they lay when the run was made; one that is gone is left out.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whet.core import Medium
from whet.data.media import medium_of

SIDE = 144
"""Pixels of the longer side of a thumbnail, twice of what is shown."""
LARGEST_SOUND = 400_000
"""Bytes of a sound that is put into a page."""
LARGEST_PAGE = 1_800_000
"""Bytes of all sounds of a page."""
_TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
}
"""Kinds of sounds that browsers play, by their endings."""


class Shelf:
    """Finds the files that the cells of a run's rows name, and counts what it has handed out."""

    def __init__(self, recipe: Mapping[str, Any], measured: str) -> None:
        data = recipe["data"]
        paths = [Path(str(data[side])) for side in (measured, "train") if data.get(side)]
        self._folders = [path if path.is_dir() else path.parent for path in paths]
        self._room = LARGEST_PAGE

    def picture(self, cell: object) -> str | None:
        """A thumbnail as a data URI; None where there is no such file, or no picture in it."""
        path = self._find(cell, "picture")
        return None if path is None else _thumbnail(path)

    def sound(self, cell: object) -> str | None:
        """A sound as a data URI; None where it is gone, too long, or of a kind that browsers do not play."""
        path = self._find(cell, "sound")
        kind = None if path is None else _TYPES.get(path.suffix.lower())
        if path is None or kind is None or path.stat().st_size > min(LARGEST_SOUND, self._room):
            return None
        content = path.read_bytes()
        self._room -= len(content)
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    def _find(self, cell: object, medium: Medium) -> Path | None:
        if not isinstance(cell, str) or medium_of(cell) != medium:
            return None
        parts = Path(cell).parts
        # A folder of classes names its files as it was named itself, which may have been from another place.
        places = (folder / Path(*parts[start:]) for folder in self._folders for start in range(len(parts)))
        return next((path for path in places if path.is_file()), None)


def _thumbnail(path: Path) -> str | None:
    # Pillow is an extra, and only runs on pictures need it.
    from PIL import Image, ImageOps  # noqa: PLC0415

    written = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.draft("RGB", (2 * SIDE, 2 * SIDE))
            turned = ImageOps.exif_transpose(picture).convert("RGBA")
            turned.thumbnail((SIDE, SIDE))
            ground = Image.new("RGBA", turned.size, "white")
            ground.alpha_composite(turned)
            ground.convert("RGB").save(written, "JPEG", quality=82)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
