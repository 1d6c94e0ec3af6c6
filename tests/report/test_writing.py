"""Numbers and foreign text as people read them."""

import math

import pytest

from whet.report.writing import count, duration, plain, score, share, size


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.9, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (86399, "1 d 0 h"),
        (100_800, "1 d 4 h"),
        (math.nan, "?"),
        (math.inf, "?"),
        (-1, "?"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KiB"),
        (1_300_000_000, "1.2 GiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 * 1024**4, "3.0 TiB"),
    ],
)
def test_sizes(number: int, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (770, "770"),
        (9_999, "9,999"),
        (9_999.7, "10.0 k"),
        (12_345, "12.3 k"),
        (999_960, "1.0 M"),
        (22_713_600, "22.7 M"),
        (7_240_000_000, "7.2 B"),
    ],
)
def test_counts(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (1_200_000, 22_700_000, "5.3%"),
        (0, 10, "0%"),
        (0, 0, "0%"),
        (10, 10, "100%"),
        (99_999, 100_000, "99.9%"),
        (5, 1000, "0.50%"),
        (1, 1_000_000, "< 0.01%"),
    ],
)
def test_shares(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_scores_keep_four_decimals_or_four_digits() -> None:
    assert [score(value) for value in (0.91234, -0.5, 1234567.0, math.nan)] == ["0.9123", "-0.5000", "1.235e+06", "nan"]


def test_text_of_others_cannot_command_the_terminal() -> None:
    assert plain("a\x1b[2Jb\x9b1mc\td\ne\r영화") == "a\ufffd[2Jb\ufffd1mc\td\ne\ufffd영화"
