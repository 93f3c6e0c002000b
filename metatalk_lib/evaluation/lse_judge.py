"""LSE of finished videos: the choice of SyncNet and face crops, and control scores for sound that does not fit.

The published weights give LSE-D and LSE-C, the open ones LSE-D (open) and LSE-C (open). Two recipes crop the face:
`s3fd`, that of the published scores, which needs another file of weights, and `tracker`, which uses the landmarks that
this project tracks everywhere. Scores of different networks or recipes are never compared.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int16, UInt8

from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.checkpoints import load_published, load_strictly, load_weights
from metatalk_lib.core.errors import DataError, MetaTalkError, ParameterError
from metatalk_lib.core.parallel import CORES, draw_ahead
from metatalk_lib.core.progress import track
from metatalk_lib.evaluation.controls import CONTROL_SHIFT, change_speech
from metatalk_lib.evaluation.face_measures import Follower, follow_face
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.syncnet_tracks import MIN_BOXES, crop_faces, track_faces
from metatalk_lib.media.audio import Recording, read_audio, to_mono_16k, to_pcm16
from metatalk_lib.media.frame_order import frames_on_screen
from metatalk_lib.media.video import probe_video, read_selected_frames
from metatalk_lib.metrics.intervals import Estimate, bootstrap_mean
from metatalk_lib.metrics.lse import (
    MIN_FRAMES,
    OPEN_SYNCNET_PATH,
    OPEN_SYNCNET_WIDTH,
    SAMPLES_PER_FRAME,
    SYNCNET_FPS,
    EmbeddedClip,
    LipSyncError,
    embed_clip,
    embed_speech,
    score_clip,
)
from metatalk_lib.networks.s3fd import S3FDSyncNet
from metatalk_lib.networks.syncnet import SyncNet
from metatalk_lib.tracking.face_detector import FacePosition, boxes_of_faces

SILENT_PEAK = 33
"""Peak of the sound below which it counts as silent, of 32768: -60 dB."""
OFFSET = "offset, frames"
MAX_LENGTH_DIFFERENCE_S = 0.12
"""Largest difference in length of sound and picture, s: three frames, which coding may append to the sound.

A larger difference is an error instead of a silent cut.
"""


@dataclass(frozen=True)
class LipSyncJudge:
    """A SyncNet and the recipe of its face crops.

    Attributes:
        network: SyncNet in evaluation mode.
        is_open: whether its weights are this project's.
        detector: S3FD for the recipe `s3fd`; None for `tracker`.
        files: files of the weights.
        face_position: face that `tracker` chooses among several.
        follower: what follows the face for `tracker`; dlib by default.
    """

    network: SyncNet
    is_open: bool
    detector: S3FDSyncNet | None = None
    files: tuple[Path, ...] = ()
    face_position: FacePosition = "largest"
    follower: Follower | None = None

    @property
    def metrics(self) -> tuple[str, str]:
        """Names of the judge's two metrics."""
        return ("LSE-D (open)", "LSE-C (open)") if self.is_open else ("LSE-D", "LSE-C")


def load_judge(
    network: str = "auto",
    recipe: str = "tracker",
    *,
    face_position: FacePosition = "only",
    device: torch.device | None = None,
) -> LipSyncJudge:
    """Load the judge selected by the parameters.

    Args:
        network: `open` weights, the published `syncnet`, or `auto`: the published ones if they are placed.
        recipe: `tracker`, or `s3fd`, which needs the asset `s3fd_syncnet`.
        face_position: face to choose among several. `s3fd` judges all faces that it finds and thus accepts only `only`;
            `tracker` then tracks the largest.
        device: device on which the networks run; the CPU by default.

    Raises:
        DataError: weights are missing, or do not fit.
        ParameterError: there is no such network or recipe, or the recipe cannot choose the face.
    """
    if network not in ("auto", "open", "syncnet") or recipe not in ("tracker", "s3fd"):
        raise ParameterError(f"no judge `{network}` with `{recipe}`: auto, open or syncnet with tracker or s3fd.")
    if recipe == "s3fd" and face_position != "only":
        raise ParameterError(f"lip_sync_recipe s3fd judges all faces, not the {face_position} one. Use tracker.")
    followed = "largest" if face_position == "only" else face_position
    device = device or torch.device("cpu")
    is_open = network == "open" or (network == "auto" and not find_asset("syncnet").is_present)
    syncnet = load_open_syncnet() if is_open else load_published(SyncNet, "syncnet")
    files = [OPEN_SYNCNET_PATH if is_open else require_file("syncnet")]
    detector = None
    if recipe == "s3fd":
        detector = load_published(S3FDSyncNet, "s3fd_syncnet").to(device)
        files.append(require_file("s3fd_syncnet"))
    return LipSyncJudge(syncnet.to(device), is_open, detector, tuple(files), followed)


def load_open_syncnet() -> SyncNet:
    """Load the shipped SyncNet, in evaluation mode.

    Raises:
        DataError: the weights are missing or do not fit.
    """
    advice = "Make it with training/train_syncnet.py."
    network = SyncNet(OPEN_SYNCNET_WIDTH)
    load_strictly(network, load_weights(OPEN_SYNCNET_PATH, advice), OPEN_SYNCNET_PATH, advice)
    return network.eval()


def embed_video(
    judge: LipSyncJudge,
    path: Path,
    recording: Recording | None = None,
    *,
    landmarks: Float[np.ndarray, "T 68 2"] | None = None,
) -> list[EmbeddedClip]:
    """Compute SyncNet's embeddings of a video.

    A video at another frame rate is resampled to 25 fps: each instant shows the frame that is on the screen then.

    Args:
        judge: the network and its recipe.
        path: path of the video.
        recording: sound of the video; None uses the video's own.
        landmarks: unsmoothed landmarks of every frame at 25 fps, px, if already known; otherwise they are tracked.

    Returns:
        One clip for `tracker`; one per face track for `s3fd`.

    Raises:
        DataError: the video is unreadable, has no sound, or sound and picture differ in length by more than 0.12 s.
        FaceError: no face is found, or a face in too few frames.
        ParameterError: the video is too short.
    """
    pcm = check_judged_sound(path, recording or read_audio(path))
    if judge.detector is None:
        if landmarks is None:
            found = follow_face(
                frames_at_25(path),
                face_position=judge.face_position,
                follower=judge.follower,
                frame_count=frame_count_at_25(path),
                fps=Fraction(SYNCNET_FPS),
                name=path,
            )
            landmarks = found.raw_landmarks
        faces = np.stack(list(crop_faces(frames_at_25(path), boxes_of_faces(landmarks))))
        return [embed_clip(judge.network, faces, pcm)]
    clips = []
    for frame_id, boxes in track_faces(judge.detector, frames_at_25(path), path):
        frames = frames_at_25(path, int(frame_id[0]), int(frame_id[-1]) + 1)
        sound = pcm[int(frame_id[0]) * SAMPLES_PER_FRAME : (int(frame_id[-1]) + 1) * SAMPLES_PER_FRAME]
        clips.append(embed_clip(judge.network, np.stack(list(crop_faces(frames, boxes))), sound))
    return clips


def check_judged_sound(path: Path, recording: Recording) -> Int16[np.ndarray, " S"]:
    """Check that LSE can judge a video: enough frames, no silence, and picture and sound of equal length.

    Args:
        path: path of the video.
        recording: sound of the video.

    Returns:
        The sound, mono, 16 kHz, 16 bits.

    Raises:
        DataError: the sound is silent, or differs from the picture in length by more than 0.12 s.
        ParameterError: the video is too short.
    """
    pcm, count = to_pcm16(to_mono_16k(recording)), frame_count_at_25(path)
    shown_s, sounds_s = count / SYNCNET_FPS, len(pcm) / (SYNCNET_FPS * SAMPLES_PER_FRAME)
    loudest = int(np.abs(pcm.astype(np.int32)).max(initial=0))
    if abs(shown_s - sounds_s) > MAX_LENGTH_DIFFERENCE_S:
        raise DataError(f"{path} shows {shown_s:.2f} s of picture, its sound lasts {sounds_s:.2f} s. Cut one of them.")
    if count < (least := max(MIN_FRAMES, MIN_BOXES)):
        raise ParameterError(f"{path} has {count} frames at {SYNCNET_FPS} fps; LSE needs {least} or more.")
    if loudest < SILENT_PEAK:
        raise DataError(f"{path}: the sound is silent: its peak is {loudest} of 32768, less than {SILENT_PEAK}.")
    return pcm


def score_videos(
    judge: LipSyncJudge, videos: Mapping[str, Mapping[str, Path]], *, failures: Failures | None = None
) -> pd.DataFrame:
    """Compute the LSE of every video, one row per clip.

    Args:
        judge: the network and its recipe.
        videos: method to recording to video.
        failures: where methods are recorded of which a clip cannot be judged; None raises the first such error.

    Returns:
        Columns `method`, `recording`, the judge's two metrics, and `offset, frames`; several face tracks of one video
        are averaged, as in the published scores. Methods that failed have no rows.

    Raises:
        DataError, FaceError, ParameterError: as in `embed_video`.
    """

    def score(path: Path) -> LipSyncError | MetaTalkError:
        try:
            return average_tracks(map(score_clip, embed_video(judge, path)))
        except MetaTalkError as error:
            if failures is None:
                raise
            return error

    names = [(method, recording) for method, recordings in videos.items() for recording in recordings]
    scored = draw_ahead(score, (videos[method][recording] for method, recording in names), CORES)
    scored = track(scored, "judging lips", total=len(names), unit="clip")
    rows = []
    for (method, recording), found in zip(names, scored, strict=True):
        if isinstance(found, LipSyncError):
            rows.append((method, recording, *found))
        elif failures is not None:
            failures.add(method, "lip synchrony", found)
    clips = pd.DataFrame(rows, columns=["method", "recording", *judge.metrics, OFFSET])
    return clips if failures is None else clips[[not failures.has(name, "lip synchrony") for name in clips["method"]]]


def average_tracks(scores: Iterable[LipSyncError]) -> LipSyncError:
    """Average the scores of one video's face tracks, as in the published scores; the offset is their median."""
    distances, confidences, offsets = zip(*scores, strict=True)
    return LipSyncError(float(np.mean(distances)), float(np.mean(confidences)), round(float(np.median(offsets))))


def average_clips(clips: pd.DataFrame, judge: LipSyncJudge, *, seed: int) -> dict[str, dict[str, Estimate]]:
    """Map method to metric to the mean over its clips, with a bootstrap interval.

    Args:
        clips: table from `score_videos`.
        judge: judge that names the metrics.
        seed: seed of the resampling.
    """
    return {
        str(method): {metric: bootstrap_mean(own[metric].to_numpy(), seed=seed) for metric in judge.metrics}
        for method, own in clips.groupby("method", sort=False)
    }


def score_controls(judge: LipSyncJudge, clips: Sequence[EmbeddedClip]) -> dict[str, LipSyncError]:
    """Compute the control rows of LSE from an original video.

    Args:
        judge: the network.
        clips: result of `embed_video` for the original with its own sound.

    Returns:
        Scores of the rows of `controls.change_speech`, averaged over the face tracks.

    Raises:
        ParameterError: a clip is too short to be shifted.
    """
    if (least := min(len(clip.seen) for clip in clips)) <= 2 * CONTROL_SHIFT:
        needed = 2 * CONTROL_SHIFT + MIN_FRAMES
        raise ParameterError(f"LSE's controls need {needed} frames, got {least + MIN_FRAMES - 1}.")
    silence = embed_speech(judge.network, np.zeros(2 * SYNCNET_FPS * SAMPLES_PER_FRAME, np.int16))[:1]
    changed = [change_speech(clip, silence) for clip in clips]
    return {name: average_tracks(score_clip(each[name]) for each in changed) for name in changed[0]}


def frame_count_at_25(path: Path) -> int:
    """Return the number of frames of a video shown at 25 fps."""
    info = probe_video(path)
    return max(1, round(info.frame_count * SYNCNET_FPS / info.fps))


def frames_at_25(path: Path, start: int = 0, stop: int | None = None) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield frames `start` to `stop` of a video shown at 25 fps: each is the one on the screen in its middle."""
    info = probe_video(path)
    stop = frame_count_at_25(path) if stop is None else stop
    shown = frames_on_screen(stop, Fraction(SYNCNET_FPS), info.fps)[start:]
    ids, repeats = np.unique(np.minimum(shown, info.frame_count - 1), return_counts=True)
    for frame, count in zip(read_selected_frames(path, ids), repeats, strict=True):
        yield from itertools.repeat(frame, count)
