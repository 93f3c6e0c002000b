"""Wav2Lip as a compared method: its network paints the mouth of every source frame, at the source's resolution.

With the published weights it is Wav2Lip by its own recipe, except that the face boxes are computed from stage 01's
landmarks instead of by S3FD; without them it uses the same topology at a quarter of its width, trained by this project
on studio people, under the name "Wav2Lip (open weights)".
"""

from pathlib import Path

import torch

from metatalk_lib.baselines.opening import open_talk
from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.assets import require_file
from metatalk_lib.core.checkpoints import Weights, load_strictly, load_weights, takes_open
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.core.progress import track
from metatalk_lib.media.audio import frame_count_for, read_audio, to_mono_16k
from metatalk_lib.media.frame_order import ping_pong, read_in_order
from metatalk_lib.media.video import probe_video
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from metatalk_lib.pseudo_video.wav2lip_teacher import Wav2LipTeacher, load_wav2lip
from metatalk_lib.tracking.landmarks import LandmarkTrack

WAV2LIP_ASSET = "wav2lip"
OPEN_WAV2LIP_PATH = PACKAGE_DATA_DIR / "wav2lip_open.safetensors"
OPEN_WAV2LIP_WIDTH = 0.25
"""Width of the open network relative to the published one."""


def label_wav2lip(weights: Weights = "auto") -> str:
    """Return the method's label in the tables."""
    return "Wav2Lip (open weights)" if takes_open(weights, WAV2LIP_ASSET) else "Wav2Lip"


def list_wav2lip_files(weights: Weights = "auto") -> tuple[Path, ...]:
    """Return the files that determine the pictures.

    Raises:
        DataError: a file is missing.
    """
    return (OPEN_WAV2LIP_PATH if takes_open(weights, WAV2LIP_ASSET) else require_file(WAV2LIP_ASSET),)


def load_generator(weights: Weights = "auto") -> tuple[Wav2LipGenerator, str]:
    """Load the generator in evaluation mode, and return it with its file's checksum.

    Raises:
        DataError: the weights are missing or do not fit.
    """
    if not takes_open(weights, WAV2LIP_ASSET):
        return load_wav2lip()
    advice = "Make it with training/train_wav2lip.py."
    network = Wav2LipGenerator(OPEN_WAV2LIP_WIDTH)
    load_strictly(network, load_weights(OPEN_WAV2LIP_PATH, advice), OPEN_WAV2LIP_PATH, advice)
    return network.eval(), sha256_file(OPEN_WAV2LIP_PATH)


def talk_wav2lip(
    character_dir: Path,
    audio_path: Path,
    output: Path,
    *,
    weights: Weights = "auto",
    start_frame: int = 0,
    device: torch.device | None = None,
) -> Path:
    """Make the person of a character folder speak a recording, with Wav2Lip's method.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        audio_path: any recording that can be decoded.
        output: the .mp4 to write, at the source's size.
        weights: choice of weights, see `checkpoints.takes_open`.
        start_frame: source frame shown first.
        device: device on which the network runs; the CPU by default.

    Returns:
        `output`.

    Raises:
        DataError: a file is missing or does not fit.
        ParameterError: `start_frame` is not in the source, or `output` is not an .mp4 or is one of the input files.

    Source: Prajwal et al. 2020; facts of Rudrabha/Wav2Lip inference.py. Wav2Lip restarts the source with a jump if the
    recording is longer; here it plays forth and back, as for every method.
    """
    character = open_talk(character_dir, audio_path, output, start_frame)
    network, checksum = load_generator(weights)
    known = LandmarkTrack.load(character_dir / "01_crop" / "landmarks.npz")
    info, audio = probe_video(character.source), read_audio(audio_path)
    teacher = Wav2LipTeacher(
        network, known.landmarks, known.frame_id, size=(info.width, info.height), weights=checksum, device=device
    )
    order = ping_pong(start_frame, character.frame_count, frame_count_for(audio, character.fps))
    source = read_in_order(character.source, order)
    painted = teacher.paint(to_mono_16k(audio), character.fps, order, source)
    frames = track(painted, "talking as Wav2Lip", total=len(order))
    write_video(output, frames, fps=character.fps, audio=audio)
    return output
