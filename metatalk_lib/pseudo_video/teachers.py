"""Choice of the teacher and its corpus by the parameters of stage 02."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from metatalk_lib.core.assets import require_file
from metatalk_lib.core.paths import resolve_path
from metatalk_lib.core.stage_configs import PseudoVideoConfig
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.media.recordings import list_recordings
from metatalk_lib.pseudo_video.viseme_teacher import Teacher, VisemeTeacher
from metatalk_lib.pseudo_video.wav2lip_teacher import Wav2LipTeacher, load_wav2lip
from metatalk_lib.speech.audio_encoder import encoder_file
from metatalk_lib.speech.corpus import CorpusPlan, plan_recordings, plan_utterances


def make_teacher(
    config: PseudoVideoConfig,
    model: FaceModel,
    quick_fit: Coefficients,
    landmarks: Float[np.ndarray, "F 68 2"],
    *,
    lead_s: float,
    device: torch.device | None = None,
) -> Teacher:
    """Make the teacher named by the parameters.

    Args:
        config: parameters of stage 02.
        model: the face model of the fit.
        quick_fit: the person's fit on the 256 px video.
        landmarks: landmarks of the fitted frames, px of that video.
        lead_s: time by which the viseme teacher's mouth leads the sound, s.
        device: device of Wav2Lip's network.

    Raises:
        DataError: Wav2Lip's weights are missing or do not fit.
    """
    if config.teacher == "wav2lip":
        network, checksum = load_wav2lip()
        return Wav2LipTeacher(network, landmarks, quick_fit.frame_id, weights=checksum, device=device)
    return VisemeTeacher(model, quick_fit, strength=config.teacher_strength, lead_s=lead_s)


def plan_corpus(config: PseudoVideoConfig, fps: Fraction, teacher: Teacher) -> CorpusPlan:
    """Plan the utterances: the recordings of `corpus_dir`, or synthetic sentences if it is empty.

    Args:
        config: parameters of stage 02.
        fps: frame rate of the pseudo video, Hz.
        teacher: the teacher; phonemes of recordings are recognised only if it needs them.

    Raises:
        DataError: the folder contains nothing usable.
    """
    if not config.corpus_dir:
        return CorpusPlan(plan_utterances(config.pseudo_seconds, config.seed, fps))
    return plan_recordings(
        resolve_path(config.corpus_dir),
        config.pseudo_seconds,
        config.seed,
        fps,
        needs_phonemes=teacher.needs_phonemes,
        method=config.recogniser,
    )


def list_files_used(config: PseudoVideoConfig) -> list[Path]:
    """List files that the stage uses besides the person's: encoder, Wav2Lip's weights, corpus files and their folder.

    Args:
        config: parameters of stage 02.

    Raises:
        DataError: a file is missing.
    """
    files = [encoder_file("open")]
    if config.teacher == "wav2lip":
        files.append(require_file("wav2lip"))
    if config.corpus_dir:
        folder = resolve_path(config.corpus_dir)
        recordings = list_recordings(folder)
        transcripts = [path.with_suffix(".txt") for path in recordings]
        files += [folder, *recordings, *(path for path in transcripts if path.is_file())]
    return files
