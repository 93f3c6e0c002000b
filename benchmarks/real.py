"""Clips of real people through all notebooks, with the profile `real`: does every clip walk, and how good is it?

    python -m benchmarks.real [--clips FOLDER] [--only NAME ...]

The tracker's and the fit's constants were chosen while looking at all of `TUNED`; only other clips are unseen. All that
comes out lies under `outputs/bench/real` and is not committed: a table, and a page with mouths and the worst frame of
each clip. Finished stages are kept, and run again only where their code, parameters or inputs changed.
"""

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real_gallery import write_gallery
from benchmarks.real_painting import OURS, THEIRS, Painting, measure_painting
from benchmarks.reconstruction import REAL
from benchmarks.report import Row, finish
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import MetaTalkError
from metatalk_lib.core.notebook_runner import run_character, select_stages
from metatalk_lib.core.params import load_params, profile_params_path
from metatalk_lib.core.paths import STAGES, resolve_path
from metatalk_lib.evaluation.cheats import BLURRED
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.metrics.correlation import relate_curves
from metatalk_lib.reconstruction.fit_quality import measure_contours
from metatalk_lib.reconstruction.landmark_fit import predicted_landmarks
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmark_predictor import DlibPredictor
from metatalk_lib.tracking.landmarks import LandmarkTrack, mouth_opening, mouth_width

TUNED = (
    "bearded_1080p", "dim_844", "glasses_524", "grid_a", "grid_b", "seated_1080p_30fps", "speaker_1080p",
    "speaker_512", "suit_vfr",
)  # fmt: skip
FOLDER = resolve_path("outputs/bench/real")
ENDINGS = {".mp4", ".mov", ".mpg", ".mpeg", ".mkv", ".webm", ".avi"}
MINUTES = 5.0

# summary key of stage 03, label, unit, bars
CONTOURS = (
    ("contour_lip_error_percent", "lips' contours, fitted from tracked", "%", (("<=", 1.5),)),
    ("contour_error_percent", "whole face, fitted from tracked", "%", (("<=", 2.0),)),
    ("contour_opening_correlation", "mouth opening, r", "", ((">=", 0.97),)),
    ("contour_opening_slope", "mouth opening, slope", "", ((">=", 0.93), ("<=", 1.07))),
    ("contour_width_correlation", "mouth width, r", "", ((">=", 0.93),)),
    ("contour_width_slope", "mouth width, slope", "", ((">=", 0.9), ("<=", 1.1))),
)


@dataclasses.dataclass(frozen=True)
class Walk:
    """A clip after its run.

    Attributes:
        name: name of the clip.
        path: the clip.
        finished: stages that finished.
        error: the message that ended the run, or nothing.
        minutes: time of this run, min; of stages that were up to date nothing.
        painting: measures of its painted tail, where stage 06 finished.
    """

    name: str
    path: Path
    finished: tuple[str, ...]
    error: str
    minutes: float
    painting: Painting | None

    @property
    def folder(self) -> Path:
        """Outputs of the clip."""
        return FOLDER / self.name

    def metrics(self, stage: str) -> dict[str, Any]:
        """Figures of a finished stage, or none."""
        return load_json(self.folder / stage / "summary.json")["metrics"] if stage in self.finished else {}


def walk(path: Path) -> Walk:
    """Run a clip through all stages, as a user would."""
    started, error = time.perf_counter(), ""
    overrides = {"character": path.stem, "video": str(path.resolve()), "outputs_dir": str(FOLDER)}
    params = load_params(profile_params_path("real"), overrides=overrides)
    try:
        run_character(params, select_stages())
    except MetaTalkError as problem:
        error = " ".join(str(problem).split())
    finished = tuple(stage for stage in STAGES if (FOLDER / path.stem / stage / "summary.json").is_file())
    print(f"{path.stem}: {len(finished)} of {len(STAGES)} stages. {error}", file=sys.stderr, flush=True)
    minutes = (time.perf_counter() - started) / 60
    painting = measure_painting(FOLDER / path.stem) if "06_evaluation" in finished else None
    return Walk(path.stem, path, finished, error, minutes, painting)


def clip_rows(one: Walk) -> list[Row]:
    """One clip's table."""
    rows = [
        Row(f"{one.name}: stages finished, of {len(STAGES)}", len(one.finished), "", ">=", len(STAGES)),
        Row(f"{one.name}: time of this run", one.minutes, "min", "<=", MINUTES),
    ]
    fitted = one.metrics("03_reconstruction")
    rows += [
        Row(f"{one.name}: {label}", fitted[key], unit, op, limit)
        for key, label, unit, bars in CONTOURS
        if key in fitted
        for op, limit in bars
    ]
    if fitted:
        opened = open_fit(one)
        rows += [*cheat_rows(one, *opened), *dlib_rows(one, *opened)]
        rows.append(
            Row(f"{one.name}: lip motion that the model explains", fitted["contour_explained_motion"], "", None, None)
        )
    return rows + ([] if one.painting is None else painting_rows(one.name, one.painting))


def painting_rows(name: str, painting: Painting) -> list[Row]:
    """The held-out tail painted from its own coefficients, ours and AudioDVP's, in the lower face's mask."""
    table, sharp = painting.table, "sharpness ratio in mask"
    rows = [
        Row(f"{name}: held-out frames, SSIM in mask", table.loc[OURS, "SSIM in mask"], "", ">=", 0.88),
        Row(f"{name}: {sharp}", table.loc[OURS, sharp], "", ">=", 0.9),
        Row(f"{name}: {sharp}", table.loc[OURS, sharp], "", "<=", 1.1),
        Row(f"{name}: the same, blurred (cheat)", table.loc[BLURRED, sharp], "", ">=", 0.9, True),
        Row(f"{name}: error along the outline over the interior's", painting.band, "", "<=", 1.5),
        Row(f"{name}: the same, blurred along it (cheat)", painting.smeared_band, "", "<=", 1.5, True),
    ]
    for row in (OURS, THEIRS):
        rows += [Row(f"{name}: {row}, {metric}", table.loc[row, metric], "", None, None) for metric in painting.valid]
    label = f"{name}: measures not better than AudioDVP's, of {len(painting.valid)} valid"
    lost = painting.lost(OURS)
    rows.append(Row(f"{label} {', '.join(lost)}", len(lost), "", "<=", 0))
    rows.append(Row(f"{label}: AudioDVP itself (cheat)", len(painting.lost(THEIRS)), "", "<=", 0, True))
    return rows


def cheat_rows(one: Walk, model: FaceModel, fit: Coefficients, track: LandmarkTrack, crop: CropTransform) -> list[Row]:
    """Contours of the resting face and of the reversed clip."""
    dense = crop.to_crop(track.dense[..., :2])
    still = measure_contours(model, fit.with_expression(0 * fit.expression), dense, crop.size)
    reversed_clip = measure_contours(model, fit.with_expression(fit.expression[::-1].copy()), dense, crop.size)
    return [
        Row(f"{one.name}: lips' contours of the resting face (cheat)", still.lip_error_percent, "%", "<=", 1.5, True),
        Row(f"{one.name}: mouth opening, r, reversed (cheat)", reversed_clip.opening_correlation, "", ">=", 0.97, True),
    ]


def dlib_rows(one: Walk, model: FaceModel, fit: Coefficients, _: LandmarkTrack, crop: CropTransform) -> list[Row]:
    """The fitted mouth against dlib's, which had no part in the fit."""
    info = probe_video(one.path)
    try:
        judge = track_landmarks(
            read_frames(one.path), frame_count=info.frame_count, fps=info.fps, face_position="largest",
            max_missing_fraction=0.5, predictor=DlibPredictor(), name=one.path,
        )  # fmt: skip
    except MetaTalkError as problem:
        print(f"{one.name}: dlib finds no face: {problem}", file=sys.stderr)
        return []
    seen = fit.valid & judge.detected
    fitted, observed = predicted_landmarks(model, fit, crop.size)[seen], crop.to_crop(judge.landmarks)[seen]
    return [
        Row(f"{one.name}: judged by dlib, {name}, r", relate_curves(curve(fitted), curve(observed))[0], "", None, None)
        for name, curve in (("mouth opening", mouth_opening), ("mouth width", mouth_width))
    ]


def open_fit(one: Walk) -> tuple[FaceModel, Coefficients, LandmarkTrack, CropTransform]:
    """Face model, coefficients, landmarks and crop of a clip."""
    crop = CropTransform.load(one.folder / "01_crop" / "crop.json")
    track = LandmarkTrack.load(one.folder / "01_crop" / "landmarks.npz")
    return load_face_model(), Coefficients.load(one.folder / "03_reconstruction" / "coefficients.npz"), track, crop


def mean_rows(walks: list[Walk]) -> list[Row]:
    """Means over the clips, and over those that nothing was chosen on."""
    rows = [Row("clips that walk through all stages", sum(not w.error for w in walks), "", ">=", len(walks))]
    for label, chosen in (("all", walks), ("not tuned on", [w for w in walks if w.name not in TUNED])):
        for key, name, unit, bars in CONTOURS:
            values = [w.metrics("03_reconstruction").get(key, np.nan) for w in chosen]
            if values:
                rows += [
                    Row(f"mean, {label}: {name}", float(np.nanmean(values)), unit, op, limit) for op, limit in bars
                ]
        tables = [one.painting.table for one in chosen if one.painting is not None]
        if tables:
            ours, soft = (
                float(np.mean([table.loc[row, "SSIM in mask"] for table in tables])) for row in (OURS, BLURRED)
            )
            rows.append(Row(f"mean, {label}: SSIM in mask", ours, "", ">=", 0.92))
            rows.append(Row(f"mean, {label}: SSIM in mask, blurred (cheat)", soft, "", ">=", 0.92, True))
    return rows


def main() -> None:
    """Run the benchmark and exit with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=REAL, help="folder with videos of real people")
    parser.add_argument("--only", nargs="+", help="names of clips, without ending")
    arguments = parser.parse_args()
    clips = [path for path in sorted(arguments.clips.glob("*")) if path.suffix.lower() in ENDINGS]
    clips = [path for path in clips if not arguments.only or path.stem in arguments.only]
    if not clips:
        print(f"no real clips: {arguments.clips} has none; name a folder with --clips")
        return
    walks = [walk(path) for path in clips]
    rows = [row for one in walks for row in clip_rows(one)] + mean_rows(walks)
    print(f"page: {write_gallery(FOLDER, [one.name for one in walks if '05_neural_renderer' in one.finished])}")
    sys.exit(finish("real", rows))


if __name__ == "__main__":
    main()
