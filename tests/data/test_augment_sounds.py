"""Random changes of sounds: what each does, and that the same numbers do the same."""

from collections.abc import Callable

import numpy as np
import pytest

from tests import sounds
from whet.data.augment import sounds as augment

pytest.importorskip("soxr")

WAVE = sounds.tone(440, 0.5)
CHANGES: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "louder": lambda wave, draw: augment.louder(wave, draw, 6.0),
    "noisy": lambda wave, draw: augment.noisy(wave, draw, 10.0, 20.0),
    "shifted": lambda wave, draw: augment.shifted(wave, draw, 0.3),
    "faster": lambda wave, draw: augment.faster(wave, draw, 0.2, sounds.RATE),
}


def draw(seed: int = 3) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_numbers_change_a_wave_alike_and_leave_the_old_one(name: str) -> None:
    change, before = CHANGES[name], WAVE.copy()
    one, same, other = (change(WAVE, draw(seed)) for seed in (3, 3, 4))
    assert np.array_equal(WAVE, before)
    assert np.array_equal(one, same)
    assert not (len(one) == len(other) and np.array_equal(one, other))
    assert one.dtype == np.float32
    assert np.isfinite(one).all()
    for edge in (np.zeros(50, np.float32), np.zeros(1, np.float32)):
        assert np.isfinite(change(edge, draw())).all()


def test_loudness_stays_in_range() -> None:
    factors = [np.abs(augment.louder(WAVE, draw(seed), 6.0)).max() / np.abs(WAVE).max() for seed in range(40)]
    assert 0.5 <= min(factors) < 0.7
    assert 1.4 < max(factors) <= 2.0
    assert all(np.abs(augment.louder(WAVE * 1.8, draw(seed), 20.0)).max() <= 1.0 + 1e-6 for seed in range(20))


def test_noise_is_as_quiet_as_wanted() -> None:
    noise = augment.noisy(WAVE, draw(), 15.0, 15.0) - WAVE
    assert 10 * np.log10(np.square(WAVE).mean() / np.square(noise).mean()) == pytest.approx(15, abs=0.3)


def test_what_is_shifted_leaves_silence() -> None:
    for seed in range(10):
        moved = augment.shifted(WAVE, draw(seed), 0.3)
        distance = round(0.3 * len(WAVE) * draw(seed).uniform(-1, 1))
        if distance >= 0:
            assert np.array_equal(moved[distance:], WAVE[: len(WAVE) - distance])
            assert not moved[:distance].any()
        else:
            assert np.array_equal(moved[:distance], WAVE[-distance:])
            assert not moved[distance:].any()


def test_a_faster_wave_is_shorter_and_higher() -> None:
    for seed in range(4):
        pace = round(sounds.RATE * (1 + 0.2 * draw(seed).uniform(-1, 1))) / sounds.RATE
        changed = augment.faster(WAVE, draw(seed), 0.2, sounds.RATE)
        assert len(changed) == pytest.approx(len(WAVE) / pace, abs=2)
        peak = np.abs(np.fft.rfft(changed)).argmax() * sounds.RATE / len(changed)
        assert peak == pytest.approx(440 * pace, abs=4)


def test_stretches_and_bands_of_a_spectrogram_get_its_mean() -> None:
    frames = np.arange(200, dtype=np.float32).reshape(20, 10)
    changed = augment.masked(frames, draw(), times=2, widest=0.25, bands=1, highest=0.3)
    touched = changed != frames
    assert touched.any()
    assert set(changed[touched].tolist()) == {frames.mean()}
    assert (touched.all(axis=1).sum(), touched.all(axis=0).sum()) <= (10, 3)
    assert np.array_equal(augment.masked(frames, draw(), times=0, widest=0.5, bands=0, highest=0.5), frames)
