"""Stage 01 on a studio video of character A: its speed, how much of its time is unavoidable, and its memory.

    python -m benchmarks.cropping

The unavoidable parts are measured separately, each on results of the previous parts in memory: decoding every frame
once, placing the landmarks of every frame in a known box, encoding both face videos. The stage also detects and tracks
the face, runs the preflight, crops, and writes the sound and the contact sheet; it may overlap parts, so its share can
exceed 1. The cheats search every whole frame for faces, and keep all frames in a list.
"""

import argparse
import contextlib
import io
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np

from benchmarks.report import Row, finish, own_peak_memory_mb, peak_memory_mb
from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.parallel import read_ahead
from metatalk_lib.media.audio import Audio, read_audio, write_audio
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.studio.render_video import ensure_studio_video
from metatalk_lib.tracking import crop, face_tracker
from metatalk_lib.tracking.face_detector import box_about
from metatalk_lib.tracking.frame_sampler import FrameSampler
from metatalk_lib.tracking.landmark_predictor import load_landmark_predictor
from metatalk_lib.tracking.landmarks import LandmarkTrack
from metatalk_lib.tracking.preflight import run_preflight

FRAMES_PER_SECOND, UNAVOIDABLE_SHARE, MEMORY_RATIO = 40.0, 0.75, 1.15
SECONDS, LOOPS, REPEATS = 10.0, 10, 3
CROP_SIZE = 512


@dataclass(frozen=True)
class Parts:
    """Time of each unavoidable part alone, s."""

    decoding: float
    landmarks: float
    encoding: float

    @property
    def total(self) -> float:
        """Sum of all parts, s."""
        return self.decoding + self.landmarks + self.encoding


def crop_video(source: Path, folder: Path, *, keeps_frames: bool = False) -> tuple[LandmarkTrack, crop.CropTransform]:
    """Process a video as notebook 01 does, without its figures.

    Args:
        source: the video.
        folder: output folder.
        keeps_frames: cheat that keeps all frames in a list instead of a stream.
    """
    info, speech = probe_video(source), read_audio(source)
    sampler = FrameSampler(info)
    frames = sampler.watch(read_frames(source))
    frames = list(frames) if keeps_frames else read_ahead(frames)
    track = face_tracker.track_landmarks(
        frames, frame_count=info.frame_count, fps=info.fps, max_gap_s=1.0, watches_mouth=True
    )
    report = run_preflight(source, track=track, sampler=sampler)
    save_json(folder / "preflight.json", report.to_dict())
    report.raise_on_error()
    transform = crop.choose_crop(track, info, CROP_SIZE)
    with contextlib.redirect_stdout(io.StringIO()):  # the progress line
        crop.write_face_videos(source, transform, folder / "face.mp4", folder / "face_256.mp4")
    write_audio(folder / "audio.wav", speech)
    track.save(folder / "landmarks.npz")
    crop.save_crop(folder / "crop.json", transform, info, crop.held_out_start(info, 3.0))
    sheet = crop.make_contact_sheet(folder / "face_256.mp4", transform, track)
    crop.save_image(folder / "contact_sheet.png", sheet)
    return track, transform


def time_stage(source: Path) -> float:
    """Measure the time of `crop_video`, s."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        crop_video(source, Path(folder))
        return time.perf_counter() - started


def time_parts(source: Path, track: LandmarkTrack, transform: crop.CropTransform) -> Parts:
    """Measure the time of each unavoidable part alone, s."""
    fps, predictor = probe_video(source).fps, load_landmark_predictor("mediapipe")
    marks = [time.perf_counter()]
    frames = list(read_frames(source))
    marks.append(time.perf_counter())
    boxes = [box_about(points) for points in track.raw_landmarks]
    for frame, box in zip(frames, boxes, strict=True):
        predictor.predict(frame, box)
    marks.append(time.perf_counter())
    squares = [transform.crop_image(frame) for frame in frames]
    small = [crop.resize_square(square, crop.SMALL_SIZE) for square in squares]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_video(Path(folder) / "face.mp4", squares, fps=fps)
        write_video(Path(folder) / "face_256.mp4", small, fps=fps)
        encoding = time.perf_counter() - started
    return Parts(marks[1] - marks[0], marks[2] - marks[1], encoding)


def speed_rows(source: Path) -> list[Row]:
    """Measure the stage's speed, and the unavoidable share of its time; median of three."""
    with tempfile.TemporaryDirectory() as folder:
        track, transform = crop_video(source, Path(folder))  # loads the models, too
    stage, parts, cheats = [], [], []
    for _ in range(REPEATS):
        parts.append(time_parts(source, track, transform))
        stage.append(time_stage(source))
        with (
            mock.patch.object(face_tracker, "REDETECT_FRAMES", 1),
            mock.patch.object(face_tracker, "RECOUNT_FRAMES", 1),
        ):
            cheats.append(time_stage(source))
    count = len(track.frame_id)
    middle = statistics.median
    unavoidable = middle(part.total for part in parts)
    rows = [
        Row("01_crop, frames a second", count / middle(stage), "1/s", ">=", FRAMES_PER_SECOND),
        Row("01_crop, unavoidable time over its time", unavoidable / middle(stage), "", ">=", UNAVOIDABLE_SHARE),
        Row(
            "the same, faces searched on every frame (cheat)",
            unavoidable / middle(cheats),
            "",
            ">=",
            UNAVOIDABLE_SHARE,
            True,
        ),
    ]
    for name in ("decoding", "landmarks", "encoding", "total"):
        seconds = middle(getattr(part, name) for part in parts)
        rows.append(Row(f"unavoidable alone, {name}", count / seconds, "1/s", None, None))
    return rows


def memory_rows(source: Path) -> list[Row]:
    """Measure peak memory of the stage on the video, and on ten copies in a row, each in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long.mp4"
        info, speech = probe_video(source), read_audio(source)
        frames = itertools.chain.from_iterable(read_frames(source) for _ in range(LOOPS))
        write_video(long, frames, fps=info.fps, audio=Audio(np.tile(speech.samples, (LOOPS, 1)), speech.rate))
        short_mb, long_mb, short_kept, long_kept = (
            peak_memory_mb("benchmarks.cropping", "--measure", str(path), *options)
            for path, options in ((source, ()), (long, ()), (source, ("--keep",)), (long, ("--keep",)))
        )
        kept = long_kept / short_kept
    name = f"01_crop, peak memory, {LOOPS * SECONDS:.0f} s over {SECONDS:.0f} s"
    return [
        Row(name, long_mb / short_mb, "", "<=", MEMORY_RATIO),
        Row("the same, all frames in a list (cheat)", kept, "", "<=", MEMORY_RATIO, True),
        Row(f"01_crop, peak memory, {LOOPS * SECONDS:.0f} s", long_mb, "MB", None, None),
    ]


def rows() -> list[Row]:
    """All figures."""
    source = Path(ensure_studio_video("A", SECONDS))
    return [*speed_rows(source), *memory_rows(source)]


def main() -> None:
    """Run the benchmark and exit with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, help="do the stage's work on this video and print the peak memory, MB")
    parser.add_argument("--keep", action="store_true", help="with --measure: keep all frames in a list")
    arguments = parser.parse_args()
    if arguments.measure is None:
        sys.exit(finish("cropping", rows()))
    with tempfile.TemporaryDirectory() as folder:
        crop_video(arguments.measure, Path(folder), keeps_frames=arguments.keep)
    print(own_peak_memory_mb())


if __name__ == "__main__":
    main()
