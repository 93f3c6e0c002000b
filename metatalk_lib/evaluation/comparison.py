"""Comparison of arbitrary videos with the true one for `metatalk compare`, with control rows made from the true video.

Nothing is known about how the videos were made, so the region is derived from the true video's landmarks: the lower
face, from the nose to the chin and from ear to ear.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.progress import track
from metatalk_lib.evaluation.controls import (
    CONTROL_ROWS,
    GROUND_TRUTH,
    IMAGE_ORDER,
    REENCODED,
    add_controls,
    find_control_failures,
    find_lag_failures,
    find_lse_failures,
    find_order_failures,
    order_controls,
    show_mouths,
)
from metatalk_lib.evaluation.face_measures import (
    LANDMARK_DISTANCE,
    LIKENESS,
    FaceMeasures,
    compare_faces,
    measure_faces,
)
from metatalk_lib.evaluation.frechet_judge import FrechetJudge
from metatalk_lib.evaluation.image_measures import (
    IMAGE_METRICS,
    RIM_PER_SIDE,
    VERDICT_SECONDS,
    average_pictures,
)
from metatalk_lib.evaluation.lse_judge import (
    OFFSET,
    LipSyncJudge,
    average_tracks,
    check_judged_sound,
    embed_video,
    score_controls,
)
from metatalk_lib.media.audio import Recording, read_audio
from metatalk_lib.media.frame_order import read_in_any_order
from metatalk_lib.media.video import VideoInfo, probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics.lse import SYNCNET_FPS, LipSyncError, score_clip
from metatalk_lib.metrics.mouth_opening_sync import SyncScore, compute_sync
from metatalk_lib.tracking.crop import NATURAL_SIDE
from metatalk_lib.tracking.face_detector import face_width

OPENING_METRICS = ("opening r", "opening r, best lag", "best lag, frames")
BRIDGED = "frames without a face"
MIN_SECONDS = 1.0
"""Shortest clip whose mouth opening can be correlated, s."""

_LOWER_FACE = (*range(1, 16), 31, 35)
_MARGIN = 0.06  # margin by which the region grows, as a share of the face's width


def compare_videos(
    videos: Mapping[str, Path],
    reference: Path,
    *,
    lip_sync: LipSyncJudge,
    frechet: FrechetJudge,
    audio: Path | None = None,
) -> pd.DataFrame:
    """Score videos against the true video.

    Args:
        videos: mapping from row name to file.
        reference: the true video.
        lip_sync: judge that measures LSE.
        frechet: judge that measures the Fréchet distance.
        audio: recording that all lips should follow; None takes the sound of each video.

    Returns:
        Rows: the true video, controls made from it, then the videos; columns: measures of pictures, faces, mouth
        opening and LSE, and the number of frames without a detected face, whose landmarks were interpolated.

    Raises:
        DataError: a video cannot be read, or differs from the reference in size, rate or length; a sound is missing,
            silent, or of another length than the picture.
        FaceError: no face is detected in a video.
        ParameterError: a name equals that of a control, or the clip is shorter than a second.
    """
    known = probe_video(reference)
    _check_all(videos, known, reference)
    recording = read_audio(audio) if audio else None
    for path in (reference, *videos.values()):
        check_judged_sound(path, recording or read_audio(path))
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "reencoded.mp4"
        own = recording or read_audio(reference)
        write_video(again, read_frames(reference), fps=known.fps, audio=own)
        paths = {GROUND_TRUTH: reference, REENCODED: again, **videos}
        faces = {name: _follow(path, frechet) for name, path in track(paths.items(), "following faces", unit="video")}
        truth = faces[GROUND_TRUTH]
        orders = order_controls(truth.opening)
        in_order = add_controls(faces, truth, orders)
        tables = [
            compare_pictures(paths, truth.landmarks, orders, Path(folder)),
            compare_faces(in_order, truth, frechet),
            _compare_openings(in_order, truth),
            _judge_lips(paths, faces, lip_sync, recording),
        ]
    return pd.concat(tables, axis=1).loc[list(in_order)]


def find_comparison_failures(table: pd.DataFrame, reference: Path) -> list[str] | None:
    """Find controls that come out in the wrong order, whose measures cannot be trusted for this clip.

    Args:
        table: result of `compare_videos`.
        reference: the true video.

    Returns:
        One sentence for each failure; None where the clip is too short for a verdict.
    """
    known = probe_video(reference)
    if known.frame_count < round(VERDICT_SECONDS * known.fps):
        return None
    pictures = [name for name in (*IMAGE_ORDER, LANDMARK_DISTANCE, LIKENESS, "FFD (open)", "FID") if name in table]
    distance, confidence = (next(name for name in table if name.startswith(start)) for start in ("LSE-D", "LSE-C"))
    rows = table.loc[[GROUND_TRUTH, REENCODED, *CONTROL_ROWS], [distance, confidence, OFFSET]]
    scores = {str(name): LipSyncError(d, c, round(offset)) for name, d, c, offset in rows.itertuples()}
    openings = {
        str(name): SyncScore(r, best, round(lag), known.frame_count)
        for name, r, best, lag in table.loc[rows.index, list(OPENING_METRICS)].itertuples()
    }
    return [
        *find_order_failures(table, *pictures),
        *find_lse_failures(scores),
        *(f"opening r: {failure}" for failure in find_control_failures(openings, min_frames=0) or ()),
        *(f"opening r, best lag: {failure}" for failure in find_lag_failures(openings)),
    ]


def name_videos(paths: Sequence[Path]) -> dict[str, Path]:
    """Name rows after the files, with their folders if two files have the same name.

    Raises:
        ParameterError: one file is given twice.
    """
    stems = [path.stem for path in paths]
    names = [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"compare: {twice} is named twice.")
    return dict(zip(names, paths, strict=True))


def compare_pictures(
    paths: Mapping[str, Path],
    landmarks: Float[np.ndarray, "T 68 2"],
    orders: Mapping[str, np.ndarray],
    folder: Path,
) -> pd.DataFrame:
    """Compute `image_measures.IMAGE_METRICS` of videos and controls over the whole frame and the lower face.

    Args:
        paths: mapping from row name to video; the true video is `GROUND_TRUTH`.
        landmarks: landmarks of the true video, which define the mask of every frame.
        orders: for each control, the frames whose lower face it shows.
        folder: folder for the encoded control videos.
    """
    source = paths[GROUND_TRUTH]
    info = probe_video(source)

    def masks() -> Iterator[Bool[np.ndarray, "H W"]]:
        return (cut_lower_face(points, info.height, info.width) for points in landmarks)

    shown = dict(paths)
    for number, (name, order) in enumerate(track(orders.items(), "encoding controls", unit="video")):
        shown[name] = folder / f"control_{number}.mp4"
        frames = show_mouths(read_frames(source), read_in_any_order(source, order), masks())
        write_video(shown[name], frames, fps=info.fps)
    together = track(
        zip(*(read_frames(path) for path in shown.values()), strict=True), "comparing", total=info.frame_count
    )
    truth = list(shown).index(GROUND_TRUTH)
    rows = ((list(frames), frames[truth], mask) for frames, mask in zip(together, masks(), strict=True))
    side = NATURAL_SIDE * float(np.median(face_width(landmarks)))
    means = average_pictures(rows, truth, rim=RIM_PER_SIDE * side)
    return pd.DataFrame(means, index=pd.Index(list(shown), name="video"), columns=list(IMAGE_METRICS))


def cut_lower_face(landmarks: Float[np.ndarray, "68 2"], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """Compute a mask of the lower face: the hull of the jaw below the ears and the nostrils, slightly grown.

    Source: Original to this project.
    """
    hull = cv2.convexHull(np.round(landmarks[list(_LOWER_FACE)]).astype(np.int32))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    reach = max(1, round(_MARGIN * float(np.linalg.norm(landmarks[0] - landmarks[16]))))
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)) > 0


def _compare_openings(faces: Mapping[str, FaceMeasures], truth: FaceMeasures) -> pd.DataFrame:
    scores = [compute_sync(face.opening, truth.opening) for face in faces.values()]
    values = [
        (score.correlation, score.best_correlation, score.best_lag, face.bridged)
        for score, face in zip(scores, faces.values(), strict=True)
    ]
    return pd.DataFrame(values, index=pd.Index(list(faces), name="video"), columns=[*OPENING_METRICS, BRIDGED])


def _judge_lips(
    paths: Mapping[str, Path], faces: Mapping[str, FaceMeasures], judge: LipSyncJudge, recording: Recording | None
) -> pd.DataFrame:
    rows: dict[str, Any] = {}
    for name, path in track(paths.items(), "judging lips", unit="video"):
        known = faces[name].raw_landmarks if probe_video(path).fps == SYNCNET_FPS else None
        clips = embed_video(judge, path, recording, landmarks=known)
        rows |= score_controls(judge, clips) if name == GROUND_TRUTH else {name: average_tracks(map(score_clip, clips))}
    columns = [*judge.metrics, OFFSET]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _follow(path: Path, judge: FrechetJudge) -> FaceMeasures:
    info = probe_video(path)
    return measure_faces(partial(read_frames, path), judge, frame_count=info.frame_count, fps=info.fps, name=path)


def _check_all(videos: Mapping[str, Path], known: VideoInfo, reference: Path) -> None:
    taken = sorted({GROUND_TRUTH, REENCODED, *CONTROL_ROWS} & set(videos))
    if taken:
        raise ParameterError(f"compare: `{taken[0]}` is a control row. Name the video otherwise.")
    seconds = float(known.frame_count / known.fps)
    if seconds < MIN_SECONDS:
        raise ParameterError(f"compare: {reference} lasts {seconds:.2f} s; needed are {MIN_SECONDS:g} s.")
    for path in videos.values():
        info = probe_video(path)
        for what in ("frame_count", "fps", "width", "height"):
            if getattr(info, what) != getattr(known, what):
                raise DataError(
                    f"{path} has {what} {getattr(info, what)}, the reference {reference} has {getattr(known, what)}. "
                    "Cut or convert one of them; nothing is cut silently."
                )
