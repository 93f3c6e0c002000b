"""Wav2Lip as a compared method: its network paints the mouth of every source frame, at the source's definition.

With the published weights it is Wav2Lip by its own recipe, but that the face boxes are told from stage 01's landmarks,
not by S3FD; without them the same topology at a quarter of its width, trained by this project on studio people, takes
its place under the name "Wav2Lip (open weights)".
"""

from pathlib import Path

import torch

from metatalk_lib.artifacts import load_weights, sha256_file
from metatalk_lib.assets import require_file
from metatalk_lib.audio import frame_count_for, read_audio, to_mono_16k
from metatalk_lib.landmarks import LandmarkTrack
from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from metatalk_lib.official_weights import Weights, load_strictly, takes_open
from metatalk_lib.paths import PACKAGE_DATA_DIR
from metatalk_lib.playback import ping_pong, read_in_order
from metatalk_lib.progress import track
from metatalk_lib.talk import load_character
from metatalk_lib.talk_request import check_talk
from metatalk_lib.video import probe_video, write_video
from metatalk_lib.wav2lip import Wav2LipTeacher, load_wav2lip

OFFICIAL_ASSET = "wav2lip"
OPEN_PATH = PACKAGE_DATA_DIR / "wav2lip_open.safetensors"
OPEN_WIDTH = 0.25
"""Width of the open network over the published one."""


def label(weights: Weights = "auto") -> str:
    """What the tables call it."""
    return "Wav2Lip (open weights)" if takes_open(weights, OFFICIAL_ASSET) else "Wav2Lip"


def weight_files(weights: Weights = "auto") -> tuple[Path, ...]:
    """The files that decide what it paints.

    Raises:
        DataError: one is missing.
    """
    return (OPEN_PATH if takes_open(weights, OFFICIAL_ASSET) else require_file(OFFICIAL_ASSET),)


def load_generator(weights: Weights = "auto") -> tuple[Wav2LipGenerator, str]:
    """The generator in evaluation mode, and its file's checksum.

    Raises:
        DataError: the weights are missing or do not fit.
    """
    if not takes_open(weights, OFFICIAL_ASSET):
        return load_wav2lip()
    advice = "Make it with training/train_wav2lip.py."
    network = Wav2LipGenerator(OPEN_WIDTH)
    load_strictly(network, load_weights(OPEN_PATH, advice), OPEN_PATH, advice)
    return network.eval(), sha256_file(OPEN_PATH)


def talk(
    character_dir: Path,
    audio_path: Path,
    output: Path,
    *,
    weights: Weights = "auto",
    start_frame: int = 0,
    device: torch.device | None = None,
) -> Path:
    """Make the person of a character folder speak a recording, Wav2Lip's way.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        audio_path: any recording that can be decoded.
        output: the .mp4 to write, at the source's size.
        weights: whose; see `official_weights.takes_open`.
        start_frame: source frame shown first.
        device: where the network runs; CPU by default.

    Returns:
        `output`.

    Raises:
        DataError: a file is missing or does not fit.
        ParameterError: `start_frame` is not in the source, or `output` is no .mp4 or a file that is read.

    Source: Prajwal et al. 2020; facts of Rudrabha/Wav2Lip inference.py. Wav2Lip begins the source again with a jump
    where the recording is longer; here it plays forth and back, as for every method.
    """
    character = load_character(character_dir)
    check_talk(audio_path, output, character.source)
    character.check_start(start_frame)
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
