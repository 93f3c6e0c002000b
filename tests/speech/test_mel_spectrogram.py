"""Wav2Lip's mel spectrogram: the golden, streaming, and the chunk of every frame."""

from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.speech import mel_spectrogram
from metatalk_lib.speech.mel_spectrogram import (
    chunk_starts,
    compute_mel_spectrogram,
    cut_mel_chunks,
    stream_mel_spectrogram,
)
from tests.reference import REFERENCE_DIR
from tests.synthetic import reference_signal


@pytest.fixture(scope="module")
def golden() -> dict:
    with np.load(REFERENCE_DIR / "front_wav2lip_mel.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files if name != "meta"}


def test_the_spectrogram_equals_the_golden_edges_included(golden):
    mel = compute_mel_spectrogram(reference_signal())
    assert mel.shape == golden["mel"].shape
    assert np.abs(mel - golden["mel"]).max() < 1e-4


@pytest.mark.parametrize(("fps", "name"), [(Fraction(25), "25"), (Fraction(2997, 100), "29_97"), (Fraction(30), "30")])
def test_chunks_start_where_the_official_ones_do_and_no_frame_is_lost(golden, fps, name):
    official = golden[f"starts_fps{name}"]
    frames = round(2 * fps)
    starts = chunk_starts(golden["mel"].shape[1], frames, fps)
    assert len(starts) == frames > len(official)
    np.testing.assert_array_equal(starts[: len(official)], official)
    assert (starts[len(official) - 1 :] == official[-1]).all()


@pytest.mark.parametrize("count", [401, 16000, 32000, 40001, 199 + 200 * 300])
def test_a_stream_in_small_groups_equals_the_whole(monkeypatch, count):
    samples = np.random.default_rng(1).standard_normal(count).astype(np.float32)
    whole = compute_mel_spectrogram(samples)
    assert whole.shape == (80, 1 + count // 200)
    monkeypatch.setattr(mel_spectrogram, "_GROUP_COLUMNS", 7)
    pieces = np.split(samples, range(333, count, 1111))
    np.testing.assert_array_equal(np.concatenate(list(stream_mel_spectrogram(pieces, count)), axis=1), whole)


def test_chunks_are_columns_of_the_spectrogram():
    mel = np.arange(80 * 40, dtype=np.float32).reshape(80, 40)
    chunks = cut_mel_chunks(mel, np.array([0, 24]))
    np.testing.assert_array_equal(chunks[1], mel[:, 24:40])


def test_too_short_a_recording_and_wrong_rates_are_refused():
    with pytest.raises(DataError, match="400 samples"):
        compute_mel_spectrogram(np.zeros(400, np.float32))
    with pytest.raises(DataError, match="15 mel columns"):
        chunk_starts(15, 1, Fraction(25))
    with pytest.raises(ParameterError, match="positive"):
        chunk_starts(80, 0, Fraction(25))
