"""The judges of lips and faces: their verdict on the original, on every method and on the controls."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from metatalk_lib.core.errors import MetaTalkError
from metatalk_lib.evaluation import image_measures
from metatalk_lib.evaluation.controls import (
    GROUND_TRUTH,
    IMAGE_ORDER,
    REENCODED,
    find_control_failures,
    find_lag_failures,
    find_lse_failures,
    find_order_failures,
)
from metatalk_lib.evaluation.face_measures import LANDMARK_DISTANCE, LIKENESS, Follower
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.frechet_judge import FrechetJudge
from metatalk_lib.evaluation.lse_judge import (
    OFFSET,
    LipSyncJudge,
    average_clips,
    average_tracks,
    embed_video,
    score_controls,
)
from metatalk_lib.evaluation.test_split import Tail
from metatalk_lib.media.audio import read_audio
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics.lse import LipSyncError, score_clip
from metatalk_lib.metrics.mouth_opening_sync import SyncScore


class Judges(NamedTuple):
    """Judges of lip synchrony and of the Fréchet distance."""

    lip_sync: LipSyncJudge
    frechet: FrechetJudge

    def following(self, follower: Follower) -> "Judges":
        """Return the judges with another follower of faces."""
        return self._replace(lip_sync=replace(self.lip_sync, follower=follower))

    @property
    def names(self) -> list[str]:
        """Names of the judges' measures."""
        return [*self.lip_sync.metrics, self.frechet.metric]

    @property
    def files(self) -> list[Path]:
        """Files of the judges' weights."""
        return [*self.lip_sync.files, *self.frechet.files]


def judge_original(
    judges: Judges, tail: Tail, folder: Path, *, failures: Failures | None = None
) -> dict[str, LipSyncError]:
    """Compute the LSE of the original tail with its own sound, of its re-encoded copy, and of its controls.

    Args:
        judges: the judges.
        tail: the test split.
        folder: output folder of `ground_truth.mp4`, encoded losslessly, and `ground_truth_reencoded.mp4`.
        failures: where it is recorded that the original cannot be judged, such as a silent one, of which no row is
            returned then; None raises it.

    Raises:
        DataError, FaceError, ParameterError: as in `embed_video`.
    """
    try:
        return _judge_original(judges, tail, folder)
    except MetaTalkError as error:
        if failures is None:
            raise
        failures.add(GROUND_TRUTH, "lip synchrony", error)
        return {}


def _judge_original(judges: Judges, tail: Tail, folder: Path) -> dict[str, LipSyncError]:
    frames, sound, clips = tail.frames, read_audio(tail.audio), {}
    for name, crf in (("ground_truth", 0), ("ground_truth_reencoded", None)):
        path, first = folder / f"{name}.mp4", tail.start
        shown = read_frames(frames.source, first, first + len(frames))
        write_video(path, shown, fps=frames.fps, crf=crf, audio=sound)
        clips[name] = embed_video(judges.lip_sync, path)
    rows = score_controls(judges.lip_sync, clips["ground_truth"])
    reencoded = average_tracks(map(score_clip, clips["ground_truth_reencoded"]))
    return {GROUND_TRUTH: rows.pop(GROUND_TRUTH), REENCODED: reencoded, **rows}


def leave_out(videos: Mapping[str, Mapping[str, Path]], recording: str) -> dict[str, dict[str, Path]]:
    """Return method to recording to video, without one recording."""
    return {method: {name: path for name, path in made.items() if name != recording} for method, made in videos.items()}


def tabulate_lip_sync(
    judges: Judges, original: Mapping[str, LipSyncError], clips: pd.DataFrame, *, seed: int
) -> pd.DataFrame:
    """Tabulate the LSE of the original's rows and of every method's mean over its clips, with intervals.

    Args:
        judges: judges that name the metrics.
        original: rows from `judge_original`.
        clips: table from `lse_judge.score_videos`.
        seed: seed of the intervals.
    """
    columns = [*judges.lip_sync.metrics, OFFSET]
    rows: dict[str, list[Any]] = {name: list(score) for name, score in original.items()}
    offsets = clips.groupby("method")[OFFSET].median()
    for method, scores in average_clips(clips, judges.lip_sync, seed=seed).items():
        rows[method] = [*scores.values(), offsets[method]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("video")


def find_judging_failures(
    judges: Judges,
    frame_count: int,
    fps: Fraction,
    *,
    images: pd.DataFrame,
    variants: pd.DataFrame,
    faces: pd.DataFrame,
    sync: Mapping[str, Mapping[str, SyncScore]],
    lip_sync: Mapping[str, LipSyncError],
) -> dict[str, list[str] | None]:
    """Find the control rows in the wrong order, by measure.

    Args:
        judges: judges that name the measures.
        frame_count: number of frames of the tail.
        fps: frame rate, Hz.
        images: table from `image_measures.measure_images`, with the control rows.
        variants: table from `image_measures.measure_ssim_variants`, with the control rows.
        faces: table from `face_measures.compare_faces`, with the control rows.
        sync: control scores from `image_measures.measure_sync`.
        lip_sync: rows from `judge_original`; none where the original could not be judged.

    Returns:
        Measure to sentences; None if the clip is too short for a verdict.
    """
    seconds = {"opening": image_measures.VERDICT_SECONDS, "envelope": image_measures.ENVELOPE_VERDICT_SECONDS}
    found: dict[str, list[str] | None] = {
        name: find_control_failures(rows, min_frames=round(seconds[name] * fps)) for name, rows in sync.items()
    }
    if frame_count < round(image_measures.VERDICT_SECONDS * fps):
        unasked = ("LSE", "images", "SSIM's variants", "faces", "opening's lag")
        return {**dict.fromkeys(unasked), **found}
    face_metrics = (LANDMARK_DISTANCE, LIKENESS, judges.frechet.metric)
    return {
        "LSE": find_lse_failures(lip_sync) if lip_sync else ["the original cannot be judged"],
        "images": find_order_failures(images, *IMAGE_ORDER),
        "SSIM's variants": find_order_failures(variants, *variants.columns),
        "faces": find_order_failures(faces, *face_metrics),
        **found,
        "opening's lag": find_lag_failures(sync["opening"]),
    }


def add_lip_sync(
    scores: Mapping[str, Mapping[str, float]], clips: pd.DataFrame, judges: Judges, *, seed: int
) -> dict[str, dict[str, object]]:
    """Add LSE's means with their intervals to the scores: method to metric to value."""
    judged = average_clips(clips, judges.lip_sync, seed=seed)
    return {name: {**values, **judged.get(name, {})} for name, values in scores.items()}
