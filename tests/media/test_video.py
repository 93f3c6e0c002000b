"""video: description, frame-accurate reading, deterministic writing, colour, odd files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media import video
from metatalk_lib.media.audio import Audio, read_audio
from metatalk_lib.media.video import probe_video, read_backwards, read_frames, read_selected_frames
from metatalk_lib.media.video_writer import VIDEO_ENCODERS, join_videos, open_video_writer, write_video

FPS = Fraction(25)


def numbered(count: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    """Frames that tell their own number: a smooth field, and the number as eight black or white bars."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for number in range(count):
        frame = np.stack([x * 200 / width + 20, y * 200 / height + 20, 0 * x + 90], axis=-1).astype(np.uint8)
        for bit in range(8):
            frame[: height // 4, bit * width // 8 : (bit + 1) * width // 8] = 235 if number >> bit & 1 else 16
        frames.append(frame)
    return frames


def noise(count: int) -> list[np.ndarray]:
    """Frames that do not compress, so that a cut or a damage hits pictures."""
    return list(np.random.default_rng(0).integers(0, 255, (count, 64, 96, 3), np.uint8))


def number_of(frame: np.ndarray) -> int:
    height, width = frame.shape[:2]
    return sum(int(frame[height // 8, (2 * bit + 1) * width // 16].mean() > 128) << bit for bit in range(8))


def tone(seconds: float, rate: int, channels: int = 1) -> Audio:
    t = np.arange(round(seconds * rate)) / rate
    sweep = 0.4 * np.sin(2 * np.pi * (200 + 300 * t) * t)
    return Audio(np.tile(sweep[:, None], (1, channels)).astype(np.float32), rate)


def write_variable(path: Path, stamps_ms: list[int], frames: list[np.ndarray]) -> None:
    """A file whose frames carry the given time stamps."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = frames[0].shape[1], frames[0].shape[0], "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for stamp, image in zip(stamps_ms, frames, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows by each decoded frame's time stamp."""
    decoded = []
    decode_from = video._decode_from

    def count(*arguments: object) -> Iterator:
        for stamp, frame in decode_from(*arguments):
            decoded.append(stamp)
            yield stamp, frame

    monkeypatch.setattr(video, "_decode_from", count)
    return decoded


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001), Fraction(24), Fraction(50), Fraction(12)])
def test_round_trip_keeps_count_rate_and_order(tmp_path: Path, fps: Fraction):
    assert write_video(tmp_path / "a.mp4", iter(numbered(37)), fps=fps) == 37
    info = probe_video(tmp_path / "a.mp4")
    assert (info.width, info.height, info.fps, info.frame_count) == (96, 64, fps, 37)
    assert (info.codec, info.has_audio, info.audio_rate) == ("h264", False, 0)
    assert info.duration_s == pytest.approx(float(37 / fps))
    assert [number_of(frame) for frame in read_frames(tmp_path / "a.mp4")] == list(range(37))


def test_reading_is_exact_to_the_frame(tmp_path: Path):
    path = tmp_path / "a.mp4"
    write_video(path, numbered(130), fps=FPS)
    every = list(read_frames(path))
    for start in (0, 1, 49, 50, 51, 77, 100, 129):
        (frame,) = read_frames(path, start, start + 1)
        np.testing.assert_array_equal(frame, every[start])
    assert [number_of(frame) for frame in read_frames(path, 40, 120, step=13)] == list(range(40, 120, 13))
    assert [number_of(frame) for frame in read_selected_frames(path, [3, 60, 61, 129])] == [3, 60, 61, 129]
    assert list(read_frames(path, 5, 5)) == []


@pytest.mark.parametrize(("held", "decodings"), [(8, 4), (60, 1), (1000, 1)])
def test_backwards_come_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, decodings: int):
    write_video(tmp_path / "a.mp4", numbered(130), fps=FPS)
    every, decoded = list(read_frames(tmp_path / "a.mp4")), count_decoded(monkeypatch)
    monkeypatch.setattr(video, "BACKWARD_PX", held * 96 * 64)
    for start, stop in ((0, 130), (7, 113), (50, 51)):
        back = list(read_backwards(tmp_path / "a.mp4", start, stop))
        np.testing.assert_array_equal(back, every[start:stop][::-1])
    # of a chunk not more is decoded than it and what lies between it and its key frame, 50 frames apart
    assert len(decoded) <= decodings * 250
    assert list(read_backwards(tmp_path / "a.mp4", 5, 5)) == []
    with pytest.raises(ParameterError, match=r"frames 5 to 131 by 1 are not within .*a\.mp4, which has 130 frames"):
        read_backwards(tmp_path / "a.mp4", 5, 131)


@pytest.mark.parametrize("b_frames", [True, False])
def test_frames_far_apart_are_reached_from_key_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, b_frames: bool):
    path = tmp_path / "a.mp4"
    if not b_frames:
        plain = VIDEO_ENCODERS["h264"]
        monkeypatch.setitem(VIDEO_ENCODERS, "h264", plain._replace(options=plain.options | {"bf": "0"}))
    write_video(path, numbered(400), fps=FPS)
    decoded = count_decoded(monkeypatch)
    chosen = [0, 1, 130, 131, 249, 250, 251, 399]
    for frame_id, frame in zip(chosen, read_selected_frames(path, chosen), strict=True):
        assert number_of(frame) == frame_id % 256
    # key frames lie 50 frames apart: 0 and 1, 100 to 131, 200 to 251, 350 to 399
    assert len(decoded) <= 2 + 32 + 52 + 50
    decoded.clear()
    assert len(list(read_frames(path, 0, 400, step=10))) == 40
    assert len(decoded) <= 400


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 3), (0, 11)])
def test_a_range_outside_the_video_is_refused(tmp_path: Path, start: int, stop: int):
    write_video(tmp_path / "a.mp4", numbered(10), fps=FPS)
    with pytest.raises(ParameterError, match="which has 10 frames"):
        read_frames(tmp_path / "a.mp4", start, stop)
    with pytest.raises(ParameterError, match="must rise"):
        read_selected_frames(tmp_path / "a.mp4", [start, stop] if start > stop else [0, 10])


def test_equal_input_gives_equal_bytes(tmp_path: Path):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, numbered(20), fps=FPS, audio=tone(0.8, 16000))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_two_files_written_side_by_side_are_those_written_alone(tmp_path: Path):
    frames, small = numbered(20), numbered(20, width=48, height=32)
    write_video(tmp_path / "a.mp4", frames, fps=FPS)
    write_video(tmp_path / "b.mp4", small, fps=FPS)
    with (
        open_video_writer(tmp_path / "c.mp4", fps=FPS) as large_writer,
        open_video_writer(tmp_path / "d.mp4", fps=FPS) as small_writer,
    ):
        for large_frame, small_frame in zip(frames, small, strict=True):
            large_writer.add(large_frame)
            small_writer.add(small_frame)
    assert large_writer.count == small_writer.count == 20
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "c.mp4").read_bytes()
    assert (tmp_path / "b.mp4").read_bytes() == (tmp_path / "d.mp4").read_bytes()


WRITE_MOVING_PICTURE = """
import sys
from fractions import Fraction
import numpy as np
from metatalk_lib.media.audio import Audio
from metatalk_lib.media.video_writer import write_video
rng = np.random.default_rng(0)
wide = np.kron(rng.integers(0, 256, (45, 90, 3)), np.ones((8, 8, 1), int)).astype(np.uint8)
sound = Audio(rng.normal(0, 0.1, (32000, 1)).astype(np.float32), 16000)
write_video(sys.argv[1], [wide[:, 5 * n : 5 * n + 480] for n in range(40)], fps=Fraction(25), audio=sound)
"""


def test_bytes_do_not_depend_on_what_memory_held_before(tmp_path: Path):
    """x264's default settings fail this: what new memory is filled with decides about the picture."""
    for fill in ("1", "165"):
        command = [sys.executable, "-c", WRITE_MOVING_PICTURE, str(tmp_path / f"{fill}.mp4")]
        subprocess.run(command, check=True, env=os.environ | {"MALLOC_PERTURB_": fill})
    assert (tmp_path / "1.mp4").read_bytes() == (tmp_path / "165.mp4").read_bytes()


def test_colours_come_back_and_are_tagged(tmp_path: Path):
    rng = np.random.default_rng(0)
    patches = rng.integers(0, 256, (9, 16, 3))
    frame = np.kron(patches, np.ones((16, 16, 1), int)).astype(np.uint8)
    write_video(tmp_path / "a.mp4", [frame] * 3, fps=FPS, crf=8)
    (back,) = read_frames(tmp_path / "a.mp4", 1, 2)
    shift = (back.astype(float) - frame).mean(axis=(0, 1))
    assert np.abs(shift).max() < 1.0
    centres = np.abs(back.astype(float) - frame).reshape(9, 16, 16, 16, 3)[:, 5:11, :, 5:11]
    assert centres.mean() < 1.5
    with av.open(str(tmp_path / "a.mp4")) as container:
        decoded = next(container.decode(video=0))
    assert (int(decoded.colorspace), int(decoded.color_range)) == (1, 1)


@pytest.mark.parametrize(("space", "limited"), [(1, True), (5, True), (1, False), (5, False)])
def test_the_files_own_tags_are_honoured(tmp_path: Path, space: int, limited: bool):
    colour = np.array([200, 60, 40], np.uint8)
    frame = np.tile(colour, (64, 64, 1))
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 1 if limited else 2
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
            format="yuv444p", dst_colorspace=space, dst_color_range=1 if limited else 2, src_color_range=2
        )
        container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    (back,) = read_frames(tmp_path / "a.mkv")
    np.testing.assert_allclose(back[32, 32].astype(int), colour, atol=2)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
@pytest.mark.parametrize("seconds", [0.5, 1.0, 3.0])
def test_sound_keeps_its_rate_and_ends_with_the_picture(tmp_path: Path, rate: int, seconds: float):
    audio = tone(seconds, rate, channels=2)
    write_video(tmp_path / "a.mp4", numbered(25), fps=FPS, audio=audio)
    info = probe_video(tmp_path / "a.mp4")
    assert (info.audio_rate, info.frame_count) == (rate, 25)
    assert abs(info.audio_duration_s - info.duration_s) <= 1 / 25
    read = read_audio(tmp_path / "a.mp4")
    assert read.samples.shape == (rate, 2)
    spoken = round(min(seconds, 1.0) * rate)
    expected = audio.samples[:spoken, 0]
    assert np.corrcoef(read.samples[:spoken, 0], expected)[0, 1] > 0.99
    # not delayed by as much as one sample: a shifted copy fits worse
    for lag in (-3, 3):
        shifted = np.corrcoef(read.samples[100 + lag : spoken - 100 + lag, 0], expected[100:-100])[0, 1]
        assert shifted < np.corrcoef(read.samples[100 : spoken - 100, 0], expected[100:-100])[0, 1]


def test_a_rate_that_aac_does_not_know_goes_up_to_the_next(tmp_path: Path):
    write_video(tmp_path / "a.mp4", numbered(25), fps=FPS, audio=tone(1.0, 23456))
    read = read_audio(tmp_path / "a.mp4")
    assert (read.rate, len(read.samples)) == (24000, 24000)


def test_odd_sides_keep_their_size(tmp_path: Path):
    frames = numbered(5, width=99, height=65)
    write_video(tmp_path / "a.mp4", frames, fps=FPS)
    back = list(read_frames(tmp_path / "a.mp4"))
    assert back[0].shape == (65, 99, 3)
    assert np.abs(back[2].astype(float) - frames[2]).mean() < 3


@pytest.mark.parametrize("angle", [90, 180, -90])
def test_rotation_metadata_turns_the_picture(tmp_path: Path, angle: int):
    frame = numbered(1)[0]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.set_display_rotation(angle)
        for image in (frame, frame):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    info = probe_video(tmp_path / "a.mp4")
    expected = np.rot90(frame, angle // 90)
    assert (info.height, info.width) == expected.shape[:2]
    back = next(read_frames(tmp_path / "a.mp4"))
    assert np.abs(back.astype(float) - expected).mean() < 8


def test_a_variable_frame_rate_is_resampled_and_counted(tmp_path: Path):
    slots = [0, 1, 2, 3, 6, 7, 8, 9, 10, 12, 13, 14]
    stamps = [40 * slot + (3 if slot % 2 else -2) * (slot > 0) for slot in slots]
    stamps.insert(8, stamps[7] + 4)  # one frame too many for its slot
    write_variable(tmp_path / "a.mkv", stamps, numbered(13))
    info = probe_video(tmp_path / "a.mkv")
    assert (info.fps, info.frame_count) == (FPS, 15)
    assert (info.repeated_frames, info.dropped_frames) == (3, 1)
    shown = [number_of(frame) for frame in read_frames(tmp_path / "a.mkv")]
    assert shown == [0, 1, 2, 3, 3, 3, 4, 5, 6, 8, 9, 9, 10, 11, 12]
    assert [number_of(frame) for frame in read_frames(tmp_path / "a.mkv", 4, 8)] == [3, 3, 4, 5]
    assert [number_of(frame) for frame in read_backwards(tmp_path / "a.mkv")] == shown[::-1]


def test_millisecond_time_stamps_are_no_variable_rate(tmp_path: Path):
    stamps = [round(1000 * i * 1001 / 30000) for i in range(60)]
    write_variable(tmp_path / "a.mkv", stamps, numbered(60))
    info = probe_video(tmp_path / "a.mkv")
    assert (info.fps, info.frame_count, info.repeated_frames, info.dropped_frames) == (Fraction(30000, 1001), 60, 0, 0)


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "avi"), ("libvpx-vp9", "webm"), ("mpeg4", "mov")])
def test_other_containers(tmp_path: Path, codec: str, suffix: str):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 96, 64, "yuv420p", 2_000_000
        for image in numbered(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    info = probe_video(path)
    assert (info.fps, info.frame_count) == (FPS, 20)
    assert [number_of(frame) for frame in read_frames(path)] == list(range(20))
    assert [number_of(frame) for frame in read_frames(path, 15, 18)] == [15, 16, 17]


@pytest.mark.parametrize(
    ("container_format", "codec"), [("mpeg", "mpeg1video"), ("vob", "mpeg2video"), ("mpegts", "mpeg2video")]
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_an_mpeg_stream_can_be_read_from_any_frame(tmp_path: Path, container_format: str, codec: str, b_frames: int):
    """In a program stream time stamps are wrong after a jump, and near the end nothing can be decoded."""
    path = tmp_path / "clip.mpg"
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.gop_size, stream.max_b_frames, stream.bit_rate = 12, b_frames, 300_000
        for frame in (*numbered(75), None):
            shown = None if frame is None else av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(shown))
    whole = list(read_frames(path))
    for start in range(len(whole)):
        np.testing.assert_array_equal(next(read_frames(path, start)), whole[start])


def test_a_truncated_mp4_is_named(tmp_path: Path):
    write_video(tmp_path / "a.mp4", numbered(60), fps=FPS)
    content = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(DataError, match=r"cut\.mp4 is cut off.*Copy or download it again"):
        probe_video(tmp_path / "cut.mp4")
    with pytest.raises(DataError, match="cut off"):
        read_frames(tmp_path / "cut.mp4")
    write_variable(tmp_path / "end.mp4", [40 * i for i in range(30)], numbered(30))  # its index is at the end
    content = (tmp_path / "end.mp4").read_bytes()
    (tmp_path / "noindex.mp4").write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(DataError, match="has no index"):
        probe_video(tmp_path / "noindex.mp4")


def test_a_truncated_matroska_file_is_named(tmp_path: Path):
    write_variable(tmp_path / "a.mkv", [40 * i for i in range(60)], noise(60))
    content = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(content[: len(content) // 3])
    with pytest.raises(DataError, match="should last 2.40 s"):
        probe_video(tmp_path / "cut.mkv")


def test_a_damaged_frame_is_named(tmp_path: Path):
    write_variable(tmp_path / "a.mp4", [40 * i for i in range(20)], noise(20))
    content = bytearray((tmp_path / "a.mp4").read_bytes())
    middle = content.index(b"mdat") + (content.index(b"moov") - content.index(b"mdat")) // 2
    content[middle : middle + 4000] = b"\xff" * 4000
    (tmp_path / "b.mp4").write_bytes(content)
    with pytest.raises(DataError, match=r"frame \d+ of 20 cannot be decoded; the file is cut off or damaged"):
        list(read_frames(tmp_path / "b.mp4"))


def test_files_that_are_no_video(tmp_path: Path):
    with pytest.raises(DataError, match="does not exist"):
        probe_video(tmp_path / "none.mp4")
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(DataError, match="0 bytes"):
        probe_video(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("no video " * 500)
    with pytest.raises(DataError, match="cannot be read as a video"):
        probe_video(tmp_path / "text.mp4")
    (tmp_path / "text.txt").write_text("no video\n" * 500)
    with pytest.raises(DataError, match="no video stream|cannot be read as a video"):
        probe_video(tmp_path / "text.txt")
    soundfile.write(tmp_path / "a.wav", tone(0.5, 16000).samples, 16000)
    with pytest.raises(DataError, match="has no video stream"):
        probe_video(tmp_path / "a.wav")
    write_variable(tmp_path / "picture.png.mp4", [0], numbered(1))
    assert probe_video(tmp_path / "picture.png.mp4").frame_count == 1


def test_a_rewritten_file_is_looked_at_again(tmp_path: Path):
    write_video(tmp_path / "a.mp4", numbered(5), fps=FPS)
    assert probe_video(tmp_path / "a.mp4").frame_count == 5
    write_video(tmp_path / "a.mp4", numbered(9), fps=FPS)
    assert probe_video(tmp_path / "a.mp4").frame_count == 9


def test_nothing_is_left_of_a_failed_write(tmp_path: Path):
    def failing():
        yield from numbered(5)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_video(tmp_path / "a.mp4", failing(), fps=FPS)
    with pytest.raises(ParameterError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], fps=FPS)
    with pytest.raises(ParameterError, match=r"frame 2 is uint8 \(32, 96, 3\)"):
        write_video(tmp_path / "a.mp4", [*numbered(2), numbered(1)[0][:32]], fps=FPS)
    with pytest.raises(ParameterError, match="7 channels"):
        write_video(tmp_path / "a.mp4", numbered(2), fps=FPS, audio=tone(1.0, 16000, channels=7))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    write_video(tmp_path / "a.mp4", numbered(5), fps=FPS)
    before = (tmp_path / "a.mp4").read_bytes()
    with pytest.raises(ParameterError):
        write_video(tmp_path / "a.mp4", [*numbered(2), numbered(1)[0][:32]], fps=FPS)
    assert (tmp_path / "a.mp4").read_bytes() == before


@pytest.mark.parametrize("codec", sorted(VIDEO_ENCODERS))
def test_every_codec_family_is_written_and_joined_without_encoding_again(tmp_path: Path, codec: str):
    frames, sound = numbered(70), tone(70 / 25, 16000)
    parts = [tmp_path / "0.mp4", tmp_path / "1.mp4"]
    for path, part in zip(parts, (frames[:50], frames[50:]), strict=True):
        write_video(path, part, fps=FPS, codec=codec)
    assert join_videos(tmp_path / "joined.mp4", parts, fps=FPS, audio=sound) == 70
    info = probe_video(tmp_path / "joined.mp4")
    assert (info.codec, info.frame_count, info.fps, info.audio_rate) == (codec, 70, FPS, 16000)
    with av.open(str(tmp_path / "joined.mp4")) as container:
        tags = {"h264": "avc1", "hevc": "hvc1", "vp9": "vp09", "av1": "av01"}  # those that players know
        assert container.streams.video[0].codec_context.codec_tag == tags[codec]
    assert info.audio_duration_s == pytest.approx(70 / 25, abs=0.01)
    joined = list(read_frames(tmp_path / "joined.mp4"))
    assert all(
        np.array_equal(frame, single)
        for frame, single in zip(joined, [*read_frames(parts[0]), *read_frames(parts[1])], strict=True)
    )
    assert [number_of(frame) for frame in joined] == list(range(70))


@pytest.mark.parametrize(("codec", "written"), [("h264", "h264"), ("hevc", "hevc"), ("vp9", "vp9"), ("av1", "h264")])
def test_odd_sides_are_kept(tmp_path: Path, codec: str, written: str):
    write_video(tmp_path / "odd.mp4", numbered(5, 97, 63), fps=FPS, codec=codec)
    info = probe_video(tmp_path / "odd.mp4")
    assert (info.width, info.height, info.codec) == (97, 63, written)


def test_nothing_to_join_is_refused_and_an_unknown_family_becomes_h264(tmp_path: Path):
    with pytest.raises(ParameterError, match="no parts to join"):
        join_videos(tmp_path / "x.mp4", [], fps=FPS)
    (tmp_path / "broken.mp4").write_bytes(b"cut off")
    with pytest.raises(DataError, match="broken.mp4 cannot be read .* Delete it"):
        join_videos(tmp_path / "x.mp4", [tmp_path / "broken.mp4"], fps=FPS)
    assert not (tmp_path / "x.mp4").exists()
    write_video(tmp_path / "y.mp4", numbered(3), fps=FPS, codec="mpeg4")
    assert probe_video(tmp_path / "y.mp4").codec == "h264"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are listed by Linux alone")
def test_no_encoder_leaves_the_process_with_another_priority(tmp_path: Path):
    policies = {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")}
    write_video(tmp_path / "a.mp4", [np.zeros((96, 96, 3), np.uint8)] * 3, fps=Fraction(25), codec="av1")
    assert {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")} <= policies
