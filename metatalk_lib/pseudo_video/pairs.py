"""The pseudo video: utterances that the teacher speaks with the person's face, each a pair of video and sound."""

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from metatalk_lib.core.artifacts import load_arrays, load_json, save_arrays, save_json, sha256_file
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.media.audio import write_audio
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.pseudo_video.viseme_teacher import Teacher
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.visemes import phoneme_to_viseme

PSEUDO_SIZE = 256
"""Side of the pseudo video, px; the resolution of the paper's teacher."""
PAIR_SUFFIXES = (".wav", ".npz", ".mp4", ".json")
QUALITY_CRF = 14


@dataclass(frozen=True)
class PseudoVideo:
    """Summary of a finished pseudo video, the result of `make_pseudo_video`.

    Attributes:
        utterances: number of pairs.
        frames: number of frames in all pairs.
        seconds: length of all pairs, s.
        kept: number of pairs reused from an earlier run.
        training_frames: number of source frames used as background.
    """

    utterances: int
    frames: int
    seconds: float
    kept: int
    training_frames: int


def choose_background(coefficients: Coefficients, held_out_start: int) -> range:
    """Find the longest run of consecutive valid frames before the held-out tail.

    Raises:
        DataError: there is no such frame.
    """
    usable = coefficients.frame_id[coefficients.valid & (coefficients.frame_id < held_out_start)]
    if len(usable) == 0:
        raise DataError(f"teacher: no fitted frame before frame {held_out_start}. Look at the landmarks of 01_crop.")
    runs = np.split(usable, np.flatnonzero(np.diff(usable) != 1) + 1)
    longest = max(runs, key=len)
    return range(int(longest[0]), int(longest[-1]) + 1)


def walk_frames(background: range, start: int, count: int) -> Int[np.ndarray, " count"]:
    """Compute frame numbers that run through a range of frames forwards and backwards, without jumps.

    Args:
        background: range of n frames.
        start: phase within the period of 2 (n - 1) frames; from n on the walk begins backwards.
        count: number of frame numbers.
    """
    last = len(background) - 1
    if last == 0:
        return np.full(count, background.start, dtype=np.int64)
    place = (start + np.arange(count)) % (2 * last)
    return background.start + np.minimum(place, 2 * last - place)


def make_pseudo_video(
    pairs_dir: Path,
    teacher: Teacher,
    utterances: Sequence[Utterance],
    face_video: Path,
    background: range,
    *,
    fps: Fraction,
    seed: int,
    threads: int = 1,
) -> PseudoVideo:
    """Write a video, a sound, the expressions and a description for every utterance.

    A pair that an earlier run finished with the same sound, expressions, background and source is reused; pairs that
    are not among `utterances` are removed. The description is written last and marks a pair as finished.

    Args:
        pairs_dir: output folder for `000.mp4, .wav, .npz, .json` and so on.
        teacher: lip-sync teacher that makes the face speak.
        utterances: utterances from `corpus.plan_utterances` or `corpus.plan_recordings`.
        face_video: the 256 px face video.
        background: usable frames of the face video, from `choose_background`.
        fps: frame rate of the face video and the pseudo video, Hz.
        seed: seed of the random start frame of each utterance.
        threads: number of utterances made in parallel.

    Raises:
        ParameterError: there are no utterances.
        DataError: the face video cannot be read.
    """
    if not utterances:
        raise ParameterError("teacher: no utterances. Plan some with corpus.plan_utterances.")
    _remove_beyond(pairs_dir, {utterance.number for utterance in utterances})
    source = sha256_file(face_video)

    def make(utterance: Utterance) -> bool:
        generator = np.random.default_rng((seed, utterance.number))
        start = int(generator.integers(max(2 * len(background) - 2, 1)))
        frame_id = walk_frames(background, start, utterance.frame_count)
        return _make_pair(pairs_dir, teacher, utterance, face_video, frame_id, fps, source)

    with ThreadPoolExecutor(threads) as pool:
        kept = list(track(pool.map(make, utterances), "speaking", total=len(utterances), unit="utterance"))
    frames = sum(utterance.frame_count for utterance in utterances)
    return PseudoVideo(len(utterances), frames, float(frames / fps), sum(kept), len(background))


def list_pairs(pairs_dir: Path) -> list[Path]:
    """Descriptions (`NNN.json`) of the finished pairs, in order.

    Raises:
        DataError: there is none.
    """
    pairs = sorted(path for path in pairs_dir.glob("*.json") if not path.name.startswith("."))
    if not pairs:
        raise DataError(f"{pairs_dir} holds no pseudo video. Run notebooks/02_pseudo_video.ipynb first.")
    return pairs


def load_taught(pairs_path: Path) -> Float[np.ndarray, "T 64"] | None:
    """Load the expressions that the teacher drew for a pair (`NNN.npz`); None if the teacher gives none.

    Raises:
        DataError: the file is missing or damaged.
    """
    return load_arrays(pairs_path).get("expression")


def _make_pair(
    pairs_dir: Path,
    teacher: Teacher,
    utterance: Utterance,
    face_video: Path,
    frame_id: Int[np.ndarray, " T"],
    fps: Fraction,
    source: str,
) -> bool:
    """Make one pair, or return True if it exists already."""
    stem = f"{utterance.number:03d}"
    frames = _read_walk(face_video, frame_id)
    spoken = teacher.speak(utterance, fps, frame_id, frames)
    description = _describe(teacher, utterance, frame_id, fps, spoken.expression, source)
    paths = {suffix: pairs_dir / f"{stem}{suffix}" for suffix in PAIR_SUFFIXES}
    if all(path.exists() for path in paths.values()) and load_json(paths[".json"]) == description:
        return True
    paths[".json"].unlink(missing_ok=True)
    sound = utterance.speech.audio
    write_audio(paths[".wav"], sound)
    taught = {} if spoken.expression is None else {"expression": spoken.expression.astype(np.float32)}
    save_arrays(paths[".npz"], frame_id=frame_id, **taught)
    write_video(paths[".mp4"], spoken.frames, fps=fps, crf=QUALITY_CRF, audio=sound)
    save_json(paths[".json"], description)
    return False


def _read_walk(face_video: Path, frame_id: Int[np.ndarray, " T"]) -> Iterable[UInt8[np.ndarray, "S S 3"]]:
    """Yield the frames of a walk, decoded lazily and only once each."""
    first, last = int(frame_id.min()), int(frame_id.max())
    stock = list(read_frames(face_video, first, last + 1))
    for number in frame_id:
        yield stock[int(number) - first]


def _describe(
    teacher: Teacher,
    utterance: Utterance,
    frame_id: Int[np.ndarray, " T"],
    fps: Fraction,
    expression: Float[np.ndarray, "T 64"] | None,
    source: str,
) -> dict:
    speech = utterance.speech
    made_from = hashlib.sha256(f"{source} {QUALITY_CRF}".encode())
    made_from.update(speech.samples.tobytes() + repr(speech.phonemes).encode())
    if expression is not None:
        made_from.update(expression.astype(np.float32).tobytes())
    made_from.update(teacher.fingerprint(frame_id))
    return {
        "teacher": teacher.name,
        "text": speech.text,
        "voice": speech.voice,
        "phonemes": [
            {"symbol": p.symbol, "start_s": p.start_s, "end_s": p.end_s, "viseme": phoneme_to_viseme(p.symbol)}
            for p in speech.phonemes
        ],
        "frame_id": [int(number) for number in frame_id],
        "fps": [fps.numerator, fps.denominator],
        "frame_count": utterance.frame_count,
        "duration_s": speech.duration_s,
        "made_from": made_from.hexdigest(),
    }


def _remove_beyond(pairs_dir: Path, numbers: set[int]) -> None:
    for path in pairs_dir.glob("[0-9][0-9][0-9]*"):
        if path.suffix in PAIR_SUFFIXES and path.stem.isdigit() and int(path.stem) not in numbers:
            path.unlink()
