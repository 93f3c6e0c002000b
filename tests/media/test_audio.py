"""audio: reading whole and piece by piece, resampling, frames and samples."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media import audio as audio_module
from metatalk_lib.media.audio import (
    Audio,
    Recording,
    SampleWindow,
    frame_count_for,
    frame_starts,
    open_audio,
    read_audio,
    stream_mono_16k,
    to_mono_16k,
    to_pcm16,
    write_audio,
)
from metatalk_lib.media.video_writer import write_video
from tests.synthetic import make_tone_audio


def test_frame_count_is_rounded_half_up():
    assert frame_count_for(Audio(np.zeros((16000, 1), np.float32), 16000), Fraction(25)) == 25
    assert frame_count_for(Audio(np.zeros((16319, 1), np.float32), 16000), Fraction(25)) == 25
    assert frame_count_for(Audio(np.zeros((16320, 1), np.float32), 16000), Fraction(25)) == 26
    assert frame_count_for(Audio(np.zeros((1, 1), np.float32), 16000), Fraction(25)) == 1
    assert frame_count_for(Audio(np.zeros((48000, 2), np.float32), 48000), Fraction(30000, 1001)) == 30


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_to_mono_16k_keeps_length_and_pitch(rate: int):
    mono = to_mono_16k(make_tone_audio(1.0, rate, channels=2))
    assert len(mono) == 16000
    spectrum = np.abs(np.fft.rfft(mono))
    assert spectrum.argmax() == 440
    assert mono[2000:-2000].std() == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_libsndfile_formats(tmp_path: Path, suffix: str):
    audio = make_tone_audio(1.0, 44100, channels=2)
    soundfile.write(tmp_path / f"a.{suffix}", audio.samples, audio.rate)
    read = read_audio(tmp_path / f"a.{suffix}")
    assert (read.rate, read.samples.shape[1]) == (44100, 2)
    assert read.duration_s == pytest.approx(1.0, abs=0.06)
    shared = min(len(read.samples), len(audio.samples))
    assert np.corrcoef(read.samples[1000 : shared - 3000, 0], audio.samples[1000 : shared - 3000, 0])[0, 1] > 0.99


def test_write_then_read_is_exact_to_one_bit(tmp_path: Path):
    audio = Audio(np.linspace(-1.5, 1.5, 999, dtype=np.float32)[:, None], 22050)
    write_audio(tmp_path / "a.wav", audio)
    write_audio(tmp_path / "b.wav", audio)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    read = read_audio(tmp_path / "a.wav")
    assert read.rate == 22050
    np.testing.assert_allclose(read.samples, np.clip(audio.samples, -1, 1), atol=1 / 32000)


def test_sound_track_of_a_video_has_its_own_length(tmp_path: Path):
    frames = [np.zeros((32, 32, 3), np.uint8)] * 25
    write_video(tmp_path / "v.mp4", frames, fps=Fraction(25), audio=make_tone_audio(1.0, 16000))
    read = read_audio(tmp_path / "v.mp4")
    assert read.samples.shape == (16000, 1)
    assert np.corrcoef(read.samples[500:-500, 0], make_tone_audio(1.0, 16000).samples[500:-500, 0])[0, 1] > 0.99


def test_bad_audio_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        read_audio(tmp_path / "none.wav")
    (tmp_path / "empty.wav").touch()
    with pytest.raises(DataError, match="0 bytes"):
        read_audio(tmp_path / "empty.wav")
    (tmp_path / "text.wav").write_text("this is not audio at all " * 20)
    with pytest.raises(DataError, match="cannot be decoded as audio"):
        read_audio(tmp_path / "text.wav")
    soundfile.write(tmp_path / "zero.wav", np.zeros((0, 1)), 16000)
    with pytest.raises(DataError, match="is empty"):
        read_audio(tmp_path / "zero.wav")
    samples = np.zeros(1000, np.float32)
    samples[[3, 5]] = np.nan, np.inf
    soundfile.write(tmp_path / "nan.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(DataError, match="NaN or infinite values in 2 of 1000"):
        read_audio(tmp_path / "nan.wav")
    with pytest.raises(DataError, match="NaN or infinite"):
        write_audio(tmp_path / "out.wav", Audio(samples[:, None], 16000))
    assert not (tmp_path / "out.wav").exists()
    write_video(tmp_path / "mute.mp4", [np.zeros((32, 32, 3), np.uint8)], fps=Fraction(25))
    with pytest.raises(DataError, match="no audio stream"):
        read_audio(tmp_path / "mute.mp4")


@pytest.mark.parametrize(("suffix", "rate"), [("wav", 48000), ("flac", 44100), ("mp3", 22050), ("mp4", 44100)])
def test_a_file_in_pieces_is_the_file_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, rate: int
):
    audio, path = make_tone_audio(1.3, rate, channels=2), tmp_path / f"a.{suffix}"
    if suffix == "mp4":
        write_video(path, [np.zeros((32, 32, 3), np.uint8)] * 32, fps=Fraction(25), audio=audio)
    else:
        soundfile.write(path, audio.samples, audio.rate)
    whole = read_audio(path)
    monkeypatch.setattr(audio_module, "BLOCK_SAMPLES", 1000)
    file = open_audio(path)
    assert isinstance(file, Recording)
    assert isinstance(whole, Recording)
    assert (file.rate, file.channels, file.sample_count) == (whole.rate, whole.channels, whole.sample_count)
    assert file.duration_s == whole.duration_s
    blocks = list(file.blocks())
    assert len(blocks) > 10
    np.testing.assert_array_equal(np.concatenate(blocks), whole.samples)
    np.testing.assert_array_equal(np.concatenate(list(stream_mono_16k(file))), to_mono_16k(whole))


def test_a_sound_track_that_starts_late_or_early_counts_from_the_first_frame(tmp_path: Path):
    """The same tone in three files whose sound starts with the picture, 0.2 s after it, and 0.2 s before it."""
    found = {}
    for name, shift_s in (("equal", 0), ("late", 0.2), ("early", -0.2)):
        path = tmp_path / f"{name}.mkv"
        _write_shifted(path, shift_s)
        found[name] = read_audio(path).samples[:, 0]
        np.testing.assert_array_equal(np.concatenate(list(open_audio(path).blocks()))[:, 0], found[name])
    assert (found["late"][:3200] == 0).all()
    np.testing.assert_array_equal(found["late"][3200:], found["equal"])
    np.testing.assert_array_equal(found["early"], found["equal"][3200:])


def _write_shifted(path: Path, shift_s: float) -> None:
    start = round(1000 * max(0.0, -shift_s))
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.arange(1, 16001, dtype=np.int16)[None], format="s16", layout="mono")
        frame.rate, frame.pts, frame.time_base = 16000, start * 16 + round(shift_s * 16000), Fraction(1, 16000)
        container.mux(sound.encode(frame))
        for number in range(25):
            picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            picture.pts, picture.time_base = start + 40 * number, Fraction(1, 1000)
            container.mux(video.encode(picture.reformat(format="yuv420p")))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path):
    write_audio(tmp_path / "a.wav", make_tone_audio(1.0, 16000))
    file = open_audio(tmp_path / "a.wav")
    write_audio(tmp_path / "a.wav", make_tone_audio(0.5, 16000))
    with pytest.raises(DataError, match="was changed while it was read"):
        list(file.blocks())
    write_audio(tmp_path / "a.wav", make_tone_audio(1.0, 16000, channels=2))
    with pytest.raises(DataError, match="was changed while it was read"):
        list(file.blocks())


@pytest.mark.parametrize(
    ("suffix", "codec", "options"), [("aac", "aac", {}), ("mp3", "libmp3lame", {"write_xing": "0"})]
)
def test_bare_streams_whose_length_is_only_estimated_are_read_to_their_end(tmp_path: Path, suffix, codec, options):
    path = tmp_path / f"a.{suffix}"
    _encode(path, [make_tone_audio(20.0, 44100)], codec, options)
    assert read_audio(path).duration_s == pytest.approx(20.0, abs=0.1)
    assert open_audio(path).sample_count == read_audio(path).sample_count


def test_a_stream_that_changes_its_channels_is_refused(tmp_path: Path):
    for name, channels in (("mono", 1), ("stereo", 2)):
        _encode(tmp_path / f"{name}.mp3", [make_tone_audio(2.0, 44100, channels)], "libmp3lame", {"write_xing": "0"})
    joined = tmp_path / "joined.mp3"
    joined.write_bytes((tmp_path / "mono.mp3").read_bytes() + (tmp_path / "stereo.mp3").read_bytes())
    for read in (read_audio, open_audio):
        with pytest.raises(DataError, match="changes from 1 channels .* to 2|cannot be decoded"):
            read(joined)


def _encode(path: Path, parts: list[Audio], codec: str, options: dict[str, str]) -> None:
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=parts[0].rate, layout="mono" if parts[0].channels == 1 else "stereo")
        sent = 0
        for part in parts:
            planes = np.ascontiguousarray(part.samples.T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=stream.layout)
            frame.rate, frame.pts, frame.time_base = part.rate, sent, Fraction(1, part.rate)
            sent += part.sample_count
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_a_window_over_a_stream_has_zeros_outside_the_signal():
    pieces = np.split(np.arange(1, 11, dtype=np.float32), [3, 4])
    window = SampleWindow(pieces)
    assert window.cut(-3, -1).tolist() == [0, 0]
    assert window.cut(-2, 2).tolist() == [0, 0, 1, 2]
    assert window.cut(1, 6).tolist() == [2, 3, 4, 5, 6]
    assert window.cut(8, 13).tolist() == [9, 10, 0, 0, 0]
    assert window.cut(12, 14).tolist() == [0, 0]
    with pytest.raises(ParameterError, match="sample 11 was forgotten"):
        window.cut(11, 14)


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(2997, 100), Fraction(30000, 1001), Fraction(30), Fraction(60)])
def test_frames_and_samples_are_aligned_exactly_for_an_hour(fps: Fraction):
    frames = int(3600 * fps)
    starts = frame_starts(frames, fps)
    for frame in (0, 1, frames // 3, frames - 1):
        assert abs(Fraction(int(starts[frame])) - Fraction(16000 * frame) / fps) <= Fraction(1, 2)


def test_whole_numbers_of_16_bits_are_clipped_not_wrapped():
    assert to_pcm16(np.array([-2, -1, 0, 0.5, 2], np.float32)).tolist() == [-32768, -32768, 0, 16384, 32767]
