"""crop: the choice of the square, both ways through it, and the files of stage 01."""

import dataclasses
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check
from metatalk_lib.media.audio import Audio
from metatalk_lib.media.video import VideoInfo, probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.tracking import crop as tracking_crop
from metatalk_lib.tracking.crop import (
    CropTransform,
    check_held_out,
    choose_crop,
    describe_crop,
    held_out_start,
    load_crop,
    make_contact_sheet,
    measure_crop,
    resize_square,
    save_crop,
    save_image,
    write_face_videos,
)
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import LandmarkTrack
from metatalk_lib.visualization.pictures import plot_crop
from tests.face_clips import FPS, moving_face


def make_track(width: float, centre: tuple[float, float], motion: float = 0.0, frames: int = 20) -> LandmarkTrack:
    """A schematic face `width` px wide that moves sideways by `motion` px in all."""
    angle = np.linspace(0, np.pi, 17)
    points = np.zeros((68, 2))
    points[:17] = np.stack([-np.cos(angle) / 2, np.sin(angle) * 0.75 - 0.1], axis=1)
    points[17:] = np.random.default_rng(0).uniform((-0.4, -0.25), (0.4, 0.4), (51, 2))
    shift = np.linspace(-motion / 2, motion / 2, frames)[:, None, None] * np.array([1.0, 0.0])
    landmarks = (points * width + shift + np.array(centre)).astype(np.float32)
    boxes = np.zeros((frames, 4), np.float32)
    return LandmarkTrack(np.arange(frames), landmarks, landmarks, boxes, np.ones(frames, bool))


def make_info(width: int = 3000, height: int = 3000, frames: int = 20) -> VideoInfo:
    return VideoInfo(Path("/nowhere/a.mp4"), width, height, FPS, frames, frames / 25, True, 16000, "h264")


@pytest.mark.parametrize(
    ("face", "side", "size"),
    [
        (120, 256, 256),  # 256 = 2.13 face widths: as it is
        (180, 333, 256),
        (220, 407, 256),  # 512 would enlarge it by 1.258
        (225, 416, 512),  # 512 is 2.28 face widths: brought up by 1.23
        (240, 512, 512),
        (276, 512, 512),
        (319, 512, 512),
        (335, 620, 512),  # neither 512 nor 768 fits: 512 is a little nearer
        (345, 638, 768),
        (360, 768, 768),
        (415, 768, 768),
        (470, 768, 768),  # 768 and 1024 both fit
        (520, 1024, 1024),
        (640, 1024, 1024),
        (700, 1295, 1024),
    ],
)
def test_the_size_follows_the_faces_own_pixels(face: float, side: int, size: int):
    transform = choose_crop(make_track(face, (1500, 1500)), make_info())
    assert (transform.side, transform.size) == (side, size)


@pytest.mark.parametrize("face", [100, 180, 225, 276, 335, 415, 520, 700])
@pytest.mark.parametrize("motion", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("corner", [False, True])
def test_every_landmark_lies_in_the_crop(face: float, motion: float, corner: bool):
    """Also where the head moves by more than its own width, and where the face touches the edge of the picture."""
    centre = (face * (0.55 + motion / 2), face * 0.5) if corner else (1500.0, 1500.0)
    track = make_track(face, centre, motion * face)
    transform = choose_crop(track, make_info())
    points = transform.to_crop(track.landmarks)
    assert points.min() >= 0
    assert points.max() <= transform.size - 1


def test_forehead_and_open_jaw_have_room():
    track = make_track(276, (1500, 1500))
    transform = choose_crop(track, make_info())
    chin, brows = track.landmarks[0, 8, 1], track.landmarks[0, :, 1].min()
    assert chin + 0.15 * 276 <= transform.top + transform.side
    assert brows - 0.40 * 276 >= transform.top


def test_a_picture_of_the_crops_size_is_taken_whole():
    transform = choose_crop(make_track(264, (250, 300)), make_info(512, 512))
    assert transform == CropTransform(0, 0, 512, 512)


def test_a_wished_size_is_kept():
    track = make_track(276, (1500, 1500))
    for size, side in ((256, 511), (512, 512), (768, 511), (1024, 511)):
        transform = choose_crop(track, make_info(), size)
        assert (transform.side, transform.size) == (side, size)
    with pytest.raises(ParameterError, match="crop_size is 500"):
        choose_crop(track, make_info(), 500)


def test_landmarks_that_are_not_finite_are_refused():
    track = make_track(276, (1500, 1500))
    track.landmarks[3, 5, 0] = np.nan
    with pytest.raises(DataError, match="not all finite"):
        choose_crop(track, make_info())


def test_the_notice_for_a_small_face():
    track = make_track(180, (1500, 1500))
    text = describe_crop(choose_crop(track, make_info()), track)
    assert "Notice: the face has too few pixels for 512 px" in text
    assert "resampled by 0.769" in text
    track = make_track(276, (1500, 1500))
    text = describe_crop(choose_crop(track, make_info()), track)
    assert "Notice" not in text
    assert "without resampling" in text


@pytest.mark.parametrize("transform", [CropTransform(-30, 12, 353, 256), CropTransform(5, 7, 512, 512)])
def test_points_go_there_and_back(transform: CropTransform):
    points = np.random.default_rng(0).uniform(-50, 900, (4, 68, 2))
    np.testing.assert_allclose(transform.to_source(transform.to_crop(points)), points, atol=1e-9)
    scale = transform.size / transform.side
    # the square's outer corners are the crop's: half a pixel beyond the first pixel's centre
    corner = np.array([[transform.left - 0.5, transform.top - 0.5]])
    np.testing.assert_allclose(transform.to_crop(corner), [[-0.5, -0.5]])
    np.testing.assert_allclose(transform.to_crop(corner + transform.side), [[transform.size - 0.5] * 2])
    assert transform.to_crop(points)[0, 1, 0] - transform.to_crop(points)[0, 0, 0] == pytest.approx(
        scale * (points[0, 1, 0] - points[0, 0, 0])
    )


@pytest.mark.parametrize("corner", [(10, 20), (-9, 20), (90, -7), (70, 90)])
def test_pixels_go_there_and_back_exactly_without_resampling(corner: tuple[int, int]):
    frame = np.random.default_rng(0).integers(0, 256, (120, 140, 3), np.uint8)
    transform = CropTransform(*corner, 64, 64)
    tracking_crop = transform.crop_image(frame)
    assert tracking_crop.shape == (64, 64, 3)
    np.testing.assert_array_equal(transform.paste(frame, tracking_crop), frame)
    changed = transform.paste(np.zeros_like(frame), tracking_crop)
    top, left = max(corner[1], 0), max(corner[0], 0)
    bottom, right = corner[1] + 64, corner[0] + 64
    np.testing.assert_array_equal(changed[top:bottom, left:right], frame[top:bottom, left:right])
    changed[top:bottom, left:right] = 0
    assert not changed.any()


def test_beyond_the_frame_the_edge_is_repeated():
    frame = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    tracking_crop = CropTransform(-2, -1, 8, 8).crop_image(frame)
    expected = np.pad(frame, ((1, 3), (2, 2), (0, 0)), mode="edge")
    np.testing.assert_array_equal(tracking_crop, expected)


@pytest.mark.parametrize("size", [256, 512])
def test_resampled_pixels_lie_where_the_points_say(size: int):
    """A bright spot is found at `to_crop` of its place, to a tenth of a pixel."""
    frame = np.zeros((500, 500, 3), np.uint8)
    y, x = np.mgrid[0:500, 0:500]
    spot = 255 * np.exp(-((x - 217.3) ** 2 + (y - 263.8) ** 2) / (2 * 6.0**2))
    frame[:] = spot[..., None].astype(np.uint8)
    transform = CropTransform(61, 47, 353, size)
    tracking_crop = transform.crop_image(frame)[..., 0].astype(float)
    y, x = np.mgrid[0:size, 0:size]
    found = np.array([(tracking_crop * x).sum(), (tracking_crop * y).sum()]) / tracking_crop.sum()
    np.testing.assert_allclose(found, transform.to_crop(np.array([[217.3, 263.8]]))[0], atol=0.1)


def test_paste_changes_nothing_where_the_weight_is_zero():
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (300, 300, 3), np.uint8)
    transform = CropTransform(40, 50, 200, 256)
    alpha = np.zeros((256, 256), np.float32)
    alpha[100:150, 60:200] = 0.5
    out = transform.paste(frame, np.full((256, 256, 3), 255, np.uint8), alpha)
    weight = np.zeros((300, 300), bool)
    weight[50:250, 40:240] = resize_square(alpha, 200) > 0
    np.testing.assert_array_equal(out[~weight], frame[~weight])
    inner = out[50 + 90 : 50 + 105, 40 + 60 : 40 + 140].astype(float)
    np.testing.assert_allclose(inner, (255 + frame[140:155, 100:180].astype(float)) / 2, atol=1.01)


def test_held_out_tail():
    assert held_out_start(make_info(frames=200), 2.0) == 150
    assert held_out_start(make_info(frames=200), 0.1) == 184, "measures need 0.64 s"
    assert held_out_start(make_info(frames=80), 3.0) == 54, "a third at most"
    with pytest.raises(DataError, match=r"lasts 1.20 s; with its tail held out less than 1 s"):
        held_out_start(make_info(frames=30), 3.0)


def test_a_tail_shorter_than_asked_for_is_a_notice():
    info = make_info(frames=80)
    assert check_held_out(info, 54, 1.0) == Check("held-out tail", "ok", "1.04 s, frames 54 to 79")
    short = check_held_out(info, 54, 3.0)
    assert (short.status, short.figure) == (
        "notice",
        "1.04 s, frames 54 to 79: a third of the clip, where 3 s were asked for",
    )


def test_crop_json_round_trip(tmp_path: Path):
    transform = CropTransform(-3, 7, 353, 256)
    save_crop(tmp_path / "crop.json", transform, make_info(640, 480, 200), 150)
    values = load_crop(tmp_path / "crop.json")
    assert CropTransform.load(tmp_path / "crop.json") == transform
    assert (values["width"], values["height"], values["frame_count"], values["held_out_start"]) == (640, 480, 200, 150)
    assert Fraction(*values["fps"]) == FPS
    assert values["source"] == "/nowhere/a.mp4"
    save_json(tmp_path / "bad.json", {"left": 1})
    with pytest.raises(DataError, match=r"bad\.json lacks fps, frame_count"):
        CropTransform.load(tmp_path / "bad.json")


@pytest.mark.parametrize("height", [360, 700])
def test_the_files_of_a_clip(tmp_path: Path, height: int):
    scale = height / 360
    frames, _ = moving_face(10, width=round(400 * scale), height=height, scale=scale)
    audio = Audio(np.zeros((6400, 1), np.float32), 16000)
    write_video(tmp_path / "source.mp4", frames, fps=FPS, audio=audio)
    info = probe_video(tmp_path / "source.mp4")
    track = track_landmarks(read_frames(info.path), frame_count=10, fps=FPS)
    transform = choose_crop(track, info)
    assert transform.size == (256 if height == 360 else 768)
    assert write_face_videos(info.path, transform, tmp_path / "face.mp4", tmp_path / "face_256.mp4") == 10
    for name, size in (("face.mp4", transform.size), ("face_256.mp4", 256)):
        written = probe_video(tmp_path / name)
        assert (written.width, written.height, written.fps, written.frame_count) == (size, size, FPS, 10)
    expected = transform.crop_image(next(read_frames(info.path, 6, 7))).astype(float)
    assert np.abs(next(read_frames(tmp_path / "face.mp4", 6, 7)) - expected).mean() < 2
    assert np.abs(next(read_frames(tmp_path / "face_256.mp4", 6, 7)) - resize_square(expected, 256)).mean() < 2
    sheet = make_contact_sheet(tmp_path / "face.mp4", transform, track, tiles=6, columns=3, tile_px=100)
    assert sheet.shape == (200, 300, 3)
    save_image(tmp_path / "sheet.png", sheet)
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert measure_crop(transform, track)["crop_size_px"] == transform.size
    assert len(plot_crop(frames[0], transform, track).axes) == 2


def test_both_videos_come_from_one_pass_and_are_the_same_in_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    texture = np.kron(rng.integers(0, 256, (70, 90, 3)), np.ones((8, 8, 1), int)).astype(np.uint8)
    write_video(tmp_path / "source.mp4", [texture[2 * n :][:520, :600] for n in range(12)], fps=FPS)
    transform, written = CropTransform(30, 4, 512, 512), []
    read = []

    def count(path: Path) -> Iterator[np.ndarray]:
        read.append(path)
        return read_frames(path)

    monkeypatch.setattr(tracking_crop, "read_frames", count)
    for run in ("first", "second"):
        paths = tmp_path / run / "face.mp4", tmp_path / run / "face_256.mp4"
        assert write_face_videos(tmp_path / "source.mp4", transform, *paths) == 12
        written.append([path.read_bytes() for path in paths])
    assert written[0] == written[1]
    assert read == [tmp_path / "source.mp4"] * 2
    # the small copy is reduced from the source's pixels: as good as one written from them alone
    small = [resize_square(transform.crop_image(frame), 256) for frame in read_frames(tmp_path / "source.mp4")]
    write_video(tmp_path / "small.mp4", small, fps=FPS)
    assert (tmp_path / "small.mp4").read_bytes() == written[0][1]


def test_a_source_that_breaks_leaves_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_video(tmp_path / "source.mp4", [np.zeros((520, 520, 3), np.uint8)] * 6, fps=FPS)

    def failing(path: Path) -> Iterator[np.ndarray]:
        yield from list(read_frames(path))[:4]
        raise DataError("frame 4 cannot be decoded")

    monkeypatch.setattr(tracking_crop, "read_frames", failing)
    paths = tmp_path / "out" / "face.mp4", tmp_path / "out" / "face_256.mp4"
    with pytest.raises(DataError, match="frame 4 cannot be decoded"):
        write_face_videos(tmp_path / "source.mp4", CropTransform(0, 0, 512, 512), *paths)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_contact_sheet_shows_bridged_frames_and_hidden_mouths(tmp_path: Path):
    frames, _ = moving_face(60)
    write_video(tmp_path / "a.mp4", frames, fps=FPS)
    info = probe_video(tmp_path / "a.mp4")
    track = track_landmarks(iter(frames), frame_count=60, fps=FPS)
    detected, occluded = np.ones(60, bool), np.zeros(60, bool)
    detected[[7, 40, 41]] = False
    occluded[[40, 41]] = True
    marked = dataclasses.replace(track, detected=detected, occluded=occluded)
    transform = choose_crop(track, info)
    path = tmp_path / "face.mp4"
    write_face_videos(info.path, transform, path, tmp_path / "small.mp4")
    sheet = make_contact_sheet(tmp_path / "small.mp4", transform, marked, tiles=12)
    for colour in ((230, 40, 40), (240, 150, 30)):
        assert (sheet == colour).all(axis=-1).sum() > 500, colour
    plain = make_contact_sheet(tmp_path / "small.mp4", transform, track, tiles=12)
    assert not (plain == (230, 40, 40)).all(axis=-1).any()
