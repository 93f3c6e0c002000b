"""Any finished videos against the true one: what `metatalk compare` measures, with control rows made from the truth.

Nothing is known of how the videos were made, so that the region is told from the true video's landmarks: the lower
face, from the nose to the chin and from ear to ear.
"""

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from metatalk_lib import metrics
from metatalk_lib.audio import Recording, read_audio
from metatalk_lib.control_rows import order_controls
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.evaluation import average_pictures, show_controls
from metatalk_lib.face_measures import FaceMeasures, compare_faces, measure_faces
from metatalk_lib.frechet_judge import FrechetJudge
from metatalk_lib.lip_sync_error import FPS, score_clip
from metatalk_lib.lip_sync_judge import OFFSET, LipSyncJudge, embed_video, score_controls
from metatalk_lib.playback import read_in_any_order
from metatalk_lib.progress import track
from metatalk_lib.sync import GROUND_TRUTH, REENCODED, compute_sync
from metatalk_lib.video import VideoInfo, probe_video, read_frames, write_video

PICTURE_METRICS = ("SSIM", "SSIM in mask", "PSNR in mask, dB", "sharpness ratio in mask", "flicker ratio")
OPENING_METRICS = ("opening r", "opening r, best lag", "best lag, frames")
MIN_FRAMES = 25
"""A second at 25 fps: shorter clips have no opening to follow."""

_LOWER_FACE = (*range(1, 16), 31, 35)
_MARGIN = 0.06  # the region grows by this share of the face's width


def compare_videos(
    videos: Mapping[str, Path],
    reference: Path,
    *,
    lip_sync: LipSyncJudge,
    frechet: FrechetJudge,
    audio: Path | None = None,
) -> pd.DataFrame:
    """Score videos against the true one.

    Args:
        videos: row name to file.
        reference: the true video.
        lip_sync: the judge of LSE.
        frechet: the judge of the Fréchet distance.
        audio: the recording that all lips should follow; None takes each video's own sound.

    Returns:
        Rows: the truth, controls made from it, then the videos; columns: measures of pictures, faces, mouth opening
        and LSE.

    Raises:
        DataError: a video cannot be read, or differs from the reference in size, rate or length.
        FaceError: no face is seen in a video.
        ParameterError: a name is taken by a control, or the clip is shorter than a second.
    """
    known = probe_video(reference)
    _check_all(videos, known, reference)
    recording = read_audio(audio) if audio else None
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "reencoded.mp4"
        own = recording or read_audio(reference)
        write_video(again, read_frames(reference), fps=known.fps, audio=own)
        paths = {GROUND_TRUTH: reference, REENCODED: again, **videos}
        faces = {name: _follow(path, frechet) for name, path in track(paths.items(), "following faces", unit="video")}
        truth = faces[GROUND_TRUTH]
        orders = order_controls(truth.opening)
        pictures = compare_pictures(paths, orders, truth.landmarks)
        controls = {name: truth.at(order) for name, order in orders.items()}
        in_order = {GROUND_TRUTH: truth, REENCODED: faces[REENCODED], **controls, **faces}
        tables = [
            pictures,
            compare_faces(in_order, truth, frechet),
            _compare_openings(in_order, truth),
            _judge_lips(paths, faces, lip_sync, recording),
        ]
    return pd.concat(tables, axis=1).loc[list(in_order)]


def name_videos(paths: Sequence[Path]) -> dict[str, Path]:
    """Rows named after the files, with their folders where two files have one name.

    Raises:
        ParameterError: one file is named twice.
    """
    stems = [path.stem for path in paths]
    names = [stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True)]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ParameterError(f"compare: {twice} is named twice.")
    return dict(zip(names, paths, strict=True))


def compare_pictures(
    paths: Mapping[str, Path], orders: Mapping[str, np.ndarray], landmarks: Float[np.ndarray, "T 68 2"]
) -> pd.DataFrame:
    """SSIM, PSNR, sharpness and flicker of videos, means over the frames, with the controls' rows.

    Args:
        paths: row name to video; the true one is `GROUND_TRUTH`.
        orders: which moment's lower face each control shows.
        landmarks: of the true video; they give the mask of every frame.
    """
    info = probe_video(paths[GROUND_TRUTH])
    names = [*orders, *paths]
    streams = [read_in_any_order(paths[GROUND_TRUTH], order) for order in orders.values()]
    streams += [read_frames(path) for path in paths.values()]
    together = track(zip(*streams, strict=True), "comparing", total=info.frame_count)
    truth = names.index(GROUND_TRUTH)
    masks = (lower_face_mask(points, info.height, info.width) for points in landmarks)
    rows = (
        (show_controls(frames, orders, frames[truth], mask), frames[truth], mask)
        for frames, mask in zip(together, masks, strict=True)
    )
    means = average_pictures(rows, _measure_picture, truth)
    return pd.DataFrame(means, index=pd.Index(names, name="video"), columns=list(PICTURE_METRICS))


def lower_face_mask(landmarks: Float[np.ndarray, "68 2"], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The lower face: the hull of the jaw below the ears and the nose's wings, a little grown.

    Source: Original to this project.
    """
    hull = cv2.convexHull(np.round(landmarks[list(_LOWER_FACE)]).astype(np.int32))
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    reach = max(1, round(_MARGIN * float(np.linalg.norm(landmarks[0] - landmarks[16]))))
    return cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)) > 0


def _measure_picture(frame: np.ndarray, original: np.ndarray, mask: np.ndarray) -> tuple[float, float, float, float]:
    values, half = metrics.ssim_map(frame, original), metrics.GAUSSIAN_SIZE_PX // 2
    return (
        float(values[half:-half, half:-half].mean()),
        float(values[mask].mean()),
        float(np.mean((frame[mask].astype(np.float64) - original[mask]) ** 2)),
        metrics.sharpness_ratio(frame, original, mask=mask),
    )


def _compare_openings(faces: Mapping[str, FaceMeasures], truth: FaceMeasures) -> pd.DataFrame:
    scores = [compute_sync(face.opening, truth.opening) for face in faces.values()]
    values = [(score.correlation, score.best_correlation, score.best_lag) for score in scores]
    return pd.DataFrame(values, index=pd.Index(list(faces), name="video"), columns=list(OPENING_METRICS))


def _judge_lips(
    paths: Mapping[str, Path], faces: Mapping[str, FaceMeasures], judge: LipSyncJudge, recording: Recording | None
) -> pd.DataFrame:
    rows = {}
    for name, path in track(paths.items(), "judging lips", unit="video"):
        known = faces[name].raw_landmarks if probe_video(path).fps == FPS else None
        clips = embed_video(judge, path, recording, landmarks=known)
        rows[name] = np.mean([score_clip(clip) for clip in clips], axis=0)
        if name == GROUND_TRUTH:
            rows |= {control: np.array(score) for control, score in score_controls(judge, clips[0]).items()}
    columns = [*judge.metrics, OFFSET]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def _follow(path: Path, judge: FrechetJudge) -> FaceMeasures:
    info = probe_video(path)
    return measure_faces(partial(read_frames, path), judge, frame_count=info.frame_count, fps=info.fps, name=path)


def _check_all(videos: Mapping[str, Path], known: VideoInfo, reference: Path) -> None:
    taken = sorted({GROUND_TRUTH, REENCODED, *order_controls(np.zeros(MIN_FRAMES))} & set(videos))
    if taken:
        raise ParameterError(f"compare: `{taken[0]}` is a control row. Name the video otherwise.")
    if known.frame_count < MIN_FRAMES:
        raise ParameterError(f"compare: {reference} has {known.frame_count} frames; needed are {MIN_FRAMES}.")
    for path in videos.values():
        info = probe_video(path)
        for what in ("frame_count", "fps", "width", "height"):
            if getattr(info, what) != getattr(known, what):
                raise DataError(
                    f"{path} has {what} {getattr(info, what)}, the reference {reference} has {getattr(known, what)}. "
                    "Cut or convert one of them; nothing is cut silently."
                )
