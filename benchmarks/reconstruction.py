"""Stage 03 against the truth: studio characters A to G, real clips, a face that holds still, speed and memory.

    python -m benchmarks.reconstruction [--parts truth still real speed memory] [--clips FOLDER]

The characters are 10 s videos that the regressor never saw, cached. Bars stand at every character and at the means over
them. Cheats: a mouth that moves as in the reversed clip, and the mean face.
Real clips have no ground truth and are compared with the landmarks of the detector that the fit used.
"""

import argparse
import dataclasses
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmarks import cropping, exploring, rasterizing
from benchmarks.face_truth import Accuracy, fitted_surfaces, identity_shape, measure_accuracy
from benchmarks.report import Row, finish, own_peak_memory_mb, peak_memory_mb
from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.core.notebook_runner import run_character, select_stages
from metatalk_lib.core.params import character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import PROJECT_ROOT, cache_dir, resolve_path
from metatalk_lib.core.stage import load_summary
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.reconstruction.face_clip import open_clip as open_face_clip
from metatalk_lib.reconstruction.fit_quality import measure_fit, photometric_error
from metatalk_lib.reconstruction.fit_video import ReconstructionSettings, reconstruct
from metatalk_lib.reconstruction.photometric import FrameReader
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.performance import perform, write_script
from metatalk_lib.studio.render_video import ensure_studio_video
from metatalk_lib.studio.scene import Pose, Scene
from metatalk_lib.tracking.crop import CropTransform, choose_crop, save_image
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import LandmarkTrack
from metatalk_lib.visualization.coefficient_views import render_overlays

SECONDS = 10.0
REAL = PROJECT_ROOT.parent / "shared" / "real"
# name of a figure of `Accuracy` -> how it is called, its unit, and its bars
FIGURES = {
    "opening_r": ("mouth opening, r", "", ((">=", 0.98),)),
    "opening_slope": ("mouth opening, slope", "", ((">=", 0.95), ("<=", 1.05))),
    "width_r": ("mouth width, r", "", ((">=", 0.92),)),
    "lip_mm": ("lip vertices", "mm", (("<=", 0.9),)),
    "face_mm": ("face vertices", "mm", (("<=", 1.3),)),
    "rotation_deg": ("rotation", "deg", (("<=", 1.0),)),
}
IDENTITY_SHARE = 0.10
STILL_FRAMES, STILL_MM = 50, 0.05
LANDMARK_PERCENT = 3.0
FRAMES_PER_SECOND = 8.0
MEMORY_RATIO, LOOPS = 1.15, 10


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video ready to be fitted: its crop and landmarks."""

    path: Path
    track: LandmarkTrack
    crop: CropTransform

    @property
    def landmarks(self) -> np.ndarray:
        """Landmarks in px of the crop."""
        return self.crop.to_crop(self.track.landmarks)

    def reader(self, first: int = 0) -> FrameReader:
        """The crop's frames, counted from `first` on."""
        return lambda start, stop: map(
            self.crop.crop_image, read_frames(self.path, start=first + start, stop=first + stop)
        )

    def fit(self, model: FaceModel, settings: ReconstructionSettings | None = None, rows: slice = slice(None)):
        """Coefficients of all frames, or of a stretch."""
        first, last, _ = rows.indices(len(self.track.frame_id))
        clip = open_face_clip(self.track.select(slice(first, last)), self.crop, self.reader(first))
        return reconstruct(model, clip, settings)


def open_clip(path: Path, position: str = "only") -> Clip:
    """Follow the face and choose the crop, as stage 01 does; the landmarks are cached beside the studio's videos."""
    info = probe_video(path)
    cached = cache_dir() / "bench" / f"{path.parent.name}_{path.stem}_mediapipe.npz"
    if not cached.exists():
        track = track_landmarks(
            read_frames(path), frame_count=info.frame_count, fps=info.fps, face_position=position, name=path
        )
        cached.parent.mkdir(parents=True, exist_ok=True)
        track.save(cached)
    track = LandmarkTrack.load(cached)
    return Clip(path, track, choose_crop(track, info))


def truth_rows(model: FaceModel) -> list[Row]:
    """Accuracy of every character and its mean, and how steady the identity is."""
    accuracies, cheats, halves, shapes, rows = [], [], [], [], []
    for name in STUDIO_CHARACTERS:
        path = ensure_studio_video(name, SECONDS)
        clip, truth = open_clip(path), load_arrays(path.parent / "truth.npz")
        fit = clip.fit(model)
        accuracies.append(measure_accuracy(model, fit, truth, clip.crop))
        cheats.append(cheat_accuracy(model, fit, truth, clip.crop))
        middle = len(fit) // 2
        parts = [clip.fit(model, rows=part).identity for part in (slice(0, middle), slice(middle, None))]
        first, second = (identity_shape(model, identity) for identity in parts)
        halves.append(np.square(first - second).mean() / 2)
        shapes.append((first + second) / 2)
        rows += accuracy_rows(name, accuracies[-1])
        print(f"{name}: fitted", file=sys.stderr, flush=True)
    rows += accuracy_rows("mean", Accuracy(*np.mean(accuracies, axis=0)))
    cheat = Accuracy(*np.mean(cheats, axis=0))
    rows.append(Row("mean: mouth opening, r, of the reversed clip (cheat)", cheat.opening_r, "", ">=", 0.98, True))
    rows.append(Row("mean: lip vertices, of the reversed clip (cheat)", cheat.lip_mm, "mm", "<=", 0.9, True))
    rows.append(Row("mean: face vertices, of the mean face (cheat)", cheat.face_mm, "mm", "<=", 1.3, True))
    spread = np.square(np.stack(shapes) - np.mean(shapes, axis=0)).mean()
    share = float(np.sqrt(np.mean(halves) / spread))
    rows.append(Row("identity: spread over two halves / over characters", share, "", "<=", IDENTITY_SHARE))
    return rows


def cheat_accuracy(model: FaceModel, fit: Coefficients, truth: dict, crop: CropTransform) -> Accuracy:
    """The reversed clip's expressions on the fit's poses; face vertices of the mean face with the fit's expressions."""
    reversed_clip = measure_accuracy(model, fit.with_expression(fit.expression[::-1].copy()), truth, crop)
    nobody = dataclasses.replace(fit, identity=np.zeros_like(fit.identity))
    return reversed_clip._replace(face_mm=measure_accuracy(model, nobody, truth, crop).face_mm)


def accuracy_rows(name: str, accuracy: Accuracy) -> list[Row]:
    """One row a figure and bar."""
    rows = []
    for figure, (label, unit, bars) in FIGURES.items():
        value = float(getattr(accuracy, figure))
        rows += [Row(f"{name}: {label}", value, unit, op, limit) for op, limit in bars]
    return rows


def still_rows(model: FaceModel) -> list[Row]:
    """Frame-to-frame motion of a face that holds still, under fresh grain and encoding; a cheat moves it a little."""
    jitters = []
    with tempfile.TemporaryDirectory() as folder:
        for name in STUDIO_CHARACTERS:
            path = Path(folder) / name / "still.mp4"
            film_still(name, path)
            info = probe_video(path)
            track = track_landmarks(read_frames(path), frame_count=info.frame_count, fps=info.fps, name=path)
            fit = Clip(path, track, choose_crop(track, info)).fit(model)
            jitters.append(measure_jitter(model, fit))
    shaken = dataclasses.replace(
        fit, translation=fit.translation + np.random.default_rng(0).normal(0, 0.001, fit.translation.shape)
    )
    shaken = dataclasses.replace(shaken, translation=shaken.translation.astype(np.float32))
    rows = [Row(f"{name}: jitter of a still face", value, "mm", None, None)
            for name, value in zip(STUDIO_CHARACTERS, jitters, strict=True)]  # fmt: skip
    rows.append(Row("mean: jitter of a still face", float(np.mean(jitters)), "mm", "<=", STILL_MM))
    cheat = measure_jitter(model, shaken)
    rows.append(Row("jitter of a face shaken by 0.1 mm (cheat)", cheat, "mm", "<=", STILL_MM, True))
    return rows


def film_still(name: str, path: Path) -> None:
    """One moment of a character's speech, filmed again and again: the grain is fresh in every frame."""
    character = STUDIO_CHARACTERS[name]
    performance = perform(character, write_script(character, 3.0, 0), 3 * character.fps, 0)
    scene, moment = Scene(character, 1.0, 0), 2 * character.fps
    pose = Pose(performance.actions[moment], performance.rotation[moment], performance.sway[moment], 0.0)
    path.parent.mkdir(parents=True)
    write_video(path, (scene.render(pose, number) for number in range(STILL_FRAMES)), fps=Fraction(character.fps))


def measure_jitter(model: FaceModel, fit: Coefficients) -> float:
    """Mean distance that a point of the face's surface moves from frame to frame, mm, across the line of sight.

    Motion along the line of sight is ignored: the distance of a face is known from its size alone.
    """
    points = fitted_surfaces(model, fit).face[..., :2]
    return float(100 * np.linalg.norm(np.diff(points, axis=0), axis=-1).mean())


def real_rows(model: FaceModel, folder: Path) -> list[Row]:
    """Compare landmarks and colours before and after the fine-tuning on clips of real people; overlays as PNG."""
    rows = []
    for path in sorted(folder.glob("*.mp4")):
        clip = open_clip(path, "largest")
        first = clip.fit(model, ReconstructionSettings(photometric=None))
        fit = clip.fit(model)
        quality = measure_fit(model, fit, clip.landmarks, clip.crop.size)
        before, after = (photometric_error(model, one, clip.reader()(0, len(one))) for one in (first, fit))
        name = path.stem
        rows += [
            Row(f"{name}: landmarks from the detector's", quality.error_percent, "%", "<=", LANDMARK_PERCENT),
            Row(f"{name}: of which all but the jaw's", quality.inner_error_percent, "%", None, None),
            Row(f"{name}: mouth opening against the detector's, r", quality.opening_correlation, "", None, None),
            Row(f"{name}: colour error after fine-tuning / before", after / before, "", "<=", 0.9999),
            Row(f"{name}: the same, not tuned (cheat)", 1.0, "", "<=", 0.9999, True),
        ]
        nobody = dataclasses.replace(fit, expression=np.zeros_like(fit.expression), identity=0 * fit.identity)
        cheat = measure_fit(model, nobody, clip.landmarks, clip.crop.size).error_percent
        rows.append(
            Row(f"{name}: landmarks of the resting mean face (cheat)", cheat, "%", "<=", LANDMARK_PERCENT, True)
        )
        chosen = np.linspace(0, len(fit) - 1, 4).round().astype(int).tolist()
        sheet = render_overlays(model, fit, clip.reader()(0, len(fit)), chosen)
        picture = np.concatenate([np.concatenate(list(column), axis=0) for column in sheet], axis=1)
        save_image(resolve_path("outputs/bench") / f"overlay_{name}.png", picture)
    if not rows:
        print(f"no real clips: {folder} has none; name a folder with --clips")
    return rows


def speed_rows() -> list[Row]:
    """Frames of target and pseudo video a second, of the whole stage 03 on the demo profile of character A."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = {"outputs_dir": folder}
        params = load_params(character_params_path("A"), profile_params_path("demo"), overrides=overrides)
        run_character(params, select_stages(last="03_reconstruction"))
        summary = load_summary(Path(folder), "A", "03_reconstruction")
    frames = summary["counts"]["frames"] + summary["counts"]["pseudo_frames"]
    seconds = sum(summary["timings_s"].values())
    return [Row("stage 03, frames of target and pseudo video", frames / seconds, "1/s", ">=", FRAMES_PER_SECOND)]


def memory_rows() -> list[Row]:
    """Peak memory of a process that reconstructs 100 s, over that of 10 s; the cheat keeps every frame."""
    source = ensure_studio_video("A", SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        long = Path(folder) / "long" / "long.mp4"
        long.parent.mkdir()
        frames = (frame for _ in range(LOOPS) for frame in read_frames(source))
        write_video(long, frames, fps=probe_video(source).fps)
        short_mb, long_mb, kept_mb = (
            peak_memory_mb("benchmarks.reconstruction", "--fit", str(path), *options)
            for path, options in ((source, ()), (long, ()), (long, ("--keep",)))
        )
    return [
        Row("reconstruction, peak memory of 10 s", short_mb, "MB", None, None),
        Row("reconstruction, memory of 100 s / of 10 s", long_mb / short_mb, "", "<=", MEMORY_RATIO),
        Row("the same, keeping every frame (cheat)", kept_mb / short_mb, "", "<=", MEMORY_RATIO, True),
    ]


def fit_alone(path: Path, *, keeps_frames: bool) -> None:
    """Run stages 01 and 03 of one video in the measured process, then print its peak memory in MB."""
    started = time.perf_counter()
    torch.set_num_threads(1)
    model, info = load_face_model(), probe_video(path)
    kept = list(read_frames(path)) if keeps_frames else []
    track = track_landmarks(read_frames(path), frame_count=info.frame_count, fps=info.fps, name=path)
    Clip(path, track, choose_crop(track, info)).fit(model)
    print(f"{time.perf_counter() - started:.1f} s, {len(kept)} frames kept")
    print(own_peak_memory_mb())


def main() -> None:
    """Run the benchmark and exit with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ("truth", "still", "real", "speed", "memory")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--clips", type=Path, default=REAL, help="folder with videos of real people")
    parser.add_argument("--fit", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.fit:
        fit_alone(arguments.fit, keeps_frames=arguments.keep)
        return
    model = load_face_model()
    run = {
        "truth": lambda: truth_rows(model),
        "still": lambda: still_rows(model),
        "real": lambda: real_rows(model, arguments.clips),
        "speed": lambda: [*rasterizing.rows(), *cropping.rows(), *exploring.rows(), *speed_rows()],
        "memory": memory_rows,
    }
    rows = [row for part in parts if part in arguments.parts for row in run[part]()]
    sys.exit(finish("reconstruction", rows))


if __name__ == "__main__":
    main()
