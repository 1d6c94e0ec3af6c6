"""Bytes of a file become text, or an error that names the place and the encodings that would fit.

Knows no table format.
"""

import codecs
from pathlib import Path

from whet.errors import DataError, did_you_mean

CANDIDATES = ("utf-8", "cp949", "shift_jis", "gb18030", "cp1252")
"""Encodings to propose where the one in use does not fit, the most telling ones first."""

_BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; unpack it, or save the sheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV (UTF-8)"),
    (b"PAR1", "a Parquet file; give it the suffix .parquet"),
    (b"ARROW1", "an Arrow file; save it as Parquet or CSV"),
    (b"\x1f\x8b", "compressed with gzip; unpack it"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"%PDF", "a PDF document; the rows have to come as CSV, JSON or Parquet"),
)


def read_text(path: Path, encoding: str | None = None) -> str:
    """The text of a file, in UTF-8 (with or without a byte order mark) unless an encoding is given.

    Raises DataError where the file cannot be read, is no text, or does not decode.
    """
    return decode(read_bytes(path), path.name, encoding)


def read_bytes(path: Path) -> bytes:
    """The content of a file. Raises DataError where the system refuses."""
    try:
        return path.read_bytes()
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: permission denied; allow it with: chmod u+r {path}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error


def decode(data: bytes, name: str, encoding: str | None = None) -> str:
    """``data`` as text; ``name`` is what to call it in a message."""
    for signature, what in _SIGNATURES:
        if data.startswith(signature):
            raise DataError(f"{name} is no text, it is {what}")
    used = encoding or "utf-8"
    try:
        text = data.decode("utf-8-sig" if used.lower().replace("_", "-") in {"utf-8", "utf8"} else used)
    except UnicodeDecodeError as error:
        raise DataError(_undecodable(data, name, used, error.start)) from error
    except LookupError as error:
        known = ("utf-8", "utf-16", "cp949", "euc-kr", "cp1252", "latin-1", "shift_jis", "gb18030", "big5")
        raise DataError(f"'{used}' is no text encoding{did_you_mean(used, known)}") from error
    except UnicodeError as error:
        raise DataError(f"{name} is not {used} ({error}); choose another with --set data.encoding=NAME") from error
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise DataError(
            f"{name} holds a NUL character in line {line}: it is no text, or it is damaged; "
            "if it is UTF-16 without a byte order mark, try --set data.encoding=utf-16-le"
        )
    return text


def _undecodable(data: bytes, name: str, used: str, offset: int) -> str:
    line_start = data.rfind(b"\n", 0, offset) + 1
    line_end = data.find(b"\n", offset)
    line = data.count(b"\n", 0, offset) + 1
    place = f"byte {offset} (line {line}) is 0x{data[offset]:02x}"
    if data.startswith(_BYTE_ORDER_MARKS):
        return f"{name} is not {used}, it starts with the mark of UTF-16: {place}; try --set data.encoding=utf-16"
    readings = []
    for candidate in CANDIDATES:
        try:
            data.decode(candidate)
        except UnicodeDecodeError:
            continue
        excerpt = data[line_start : line_end if line_end >= 0 else len(data)].decode(candidate, errors="replace")
        readings.append((candidate, excerpt.strip()[:30]))
    if not readings:
        return f"{name} is not {used}: {place}, and no usual encoding reads all of it; the file may be damaged"
    options = ", ".join(f"{candidate} reads that line as '{excerpt}'" for candidate, excerpt in readings)
    return f"{name} is not {used}: {place}; {options}; choose with --set data.encoding={readings[0][0]}"
