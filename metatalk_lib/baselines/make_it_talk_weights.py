"""Weights of MakeItTalk's networks: the published files, or the open ones that this project trained.

The published files are four checkpoints, Resemblyzer's voice encoder and three text files of numbers. The open weights
are two files, one for all networks from sound to landmarks and one for the image translation; the networks have the
same topology, two of them are narrower.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from metatalk_lib.baselines.make_it_talk_landmarks import FACE_WIDTH_POINTS
from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.checkpoints import Weights, load_published, load_strictly, load_weights, takes_open
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.networks.auto_vc import AUTO_VC_MEL_BANDS, AutoVC
from metatalk_lib.networks.make_it_talk import ContentBranch, SpeakerBranch
from metatalk_lib.networks.residual_unet import ResidualUNet
from metatalk_lib.networks.voice_encoder import VOICE_SIZE, VoiceEncoder

MAKE_IT_TALK_ASSETS = (
    "make_it_talk_auto_vc",
    "make_it_talk_content",
    "make_it_talk_speaker",
    "make_it_talk_image",
    "make_it_talk_target_voice",
    "make_it_talk_mean_std",
    "make_it_talk_std_face",
    "resemblyzer",
)
OPEN_SOUND_PATH = PACKAGE_DATA_DIR / "make_it_talk_sound_open.safetensors"
OPEN_IMAGE_PATH = PACKAGE_DATA_DIR / "make_it_talk_image_open.safetensors"
OPEN_AUTO_VC_WIDTH, OPEN_IMAGE_WIDTH = 96, 16
"""Channels of the open networks; the published ones have 512 and 64."""

_ADVICE = "Make it with training/train_make_it_talk.py."
_EYE_CORNERS = (36, 45)


@dataclass(frozen=True)
class Networks:
    """All networks and constants of MakeItTalk, in evaluation mode, on one device.

    Attributes:
        voice_encoder: network that computes a voice's embedding.
        auto_vc: network that converts the recording to the target voice.
        content: network that moves the lips.
        speaker: network that moves the head.
        image: network that paints the face.
        target_voice: (256,) embedding of the one voice on which the branches were trained.
        feature_mean, feature_std: (80,) mean and standard deviation of AutoVC's output.
        depth: (68,) depth of a standard face's landmarks, networks' units before `make_it_talk_landmarks.FACE_DEPTH`.
    """

    voice_encoder: VoiceEncoder
    auto_vc: AutoVC
    content: ContentBranch
    speaker: SpeakerBranch
    image: ResidualUNet
    target_voice: Float[np.ndarray, "256"]
    feature_mean: Float[np.ndarray, "80"]
    feature_std: Float[np.ndarray, "80"]
    depth: Float[np.ndarray, "68"]


class OpenSound(nn.Module):
    """Contents of the open sound file: the networks from sound to landmarks, statistics, target voice and depths."""

    def __init__(self) -> None:
        super().__init__()
        self.voice_encoder, self.auto_vc = VoiceEncoder(), AutoVC(width=OPEN_AUTO_VC_WIDTH)
        self.content, self.speaker = ContentBranch(), SpeakerBranch()
        self.register_buffer("target_voice", torch.zeros(VOICE_SIZE))
        self.register_buffer("feature_mean", torch.zeros(AUTO_VC_MEL_BANDS))
        self.register_buffer("feature_std", torch.ones(AUTO_VC_MEL_BANDS))
        self.register_buffer("depth", torch.zeros(68))


def list_make_it_talk_files(weights: Weights = "auto") -> tuple[Path, ...]:
    """Return the files that determine the pictures.

    Raises:
        DataError: a published file is missing.
    """
    return (
        (OPEN_SOUND_PATH, OPEN_IMAGE_PATH)
        if takes_open(weights, *MAKE_IT_TALK_ASSETS)
        else tuple(map(require_file, MAKE_IT_TALK_ASSETS))
    )


def load_networks(weights: Weights = "auto", device: torch.device | None = None) -> Networks:
    """Load the networks, ready to use.

    Args:
        weights: choice of weights, see `checkpoints.takes_open`.
        device: device on which they run; the CPU by default.

    Raises:
        DataError: a file is missing, cannot be read safely, or does not fit.
    """
    networks = load_open_make_it_talk() if takes_open(weights, *MAKE_IT_TALK_ASSETS) else load_official_make_it_talk()
    for name in ("voice_encoder", "auto_vc", "content", "speaker", "image"):
        getattr(networks, name).to(device or torch.device("cpu"))
    return networks


def load_official_make_it_talk() -> Networks:
    """Load the published networks.

    Source: nesting of adobe-research/MakeItTalk src/approaches/train_audio2landmark.py, train_image_translation.py,
    src/autovc/AutoVC_mel_Convertor_retrain_version.py, and of resemble-ai/Resemblyzer resemblyzer/voice_encoder.py.
    """
    statistics = load_numbers("make_it_talk_mean_std", (2 * AUTO_VC_MEL_BANDS,)).reshape(2, AUTO_VC_MEL_BANDS)
    if (statistics[1] <= 0).any():
        raise DataError(_explain("make_it_talk_mean_std", "has standard deviations that are not above 0"))
    return Networks(
        voice_encoder=load_published(VoiceEncoder, "resemblyzer", nesting="model_state", may_hold_more=True),
        auto_vc=load_published(AutoVC, "make_it_talk_auto_vc", nesting="model"),
        content=load_published(ContentBranch, "make_it_talk_content", nesting="model_g_face_id"),
        speaker=load_published(SpeakerBranch, "make_it_talk_speaker", nesting="G", may_hold_more=True),
        image=load_published(ResidualUNet, "make_it_talk_image", nesting="G"),
        target_voice=load_numbers("make_it_talk_target_voice", (VOICE_SIZE,)),
        feature_mean=statistics[0],
        feature_std=statistics[1],
        depth=load_numbers("make_it_talk_std_face", (68, 3))[:, 2],
    )


def load_open_make_it_talk(sound_path: Path = OPEN_SOUND_PATH, image_path: Path = OPEN_IMAGE_PATH) -> Networks:
    """Load the open networks.

    Args:
        sound_path: file with the tensors of `pack_sound`.
        image_path: file with the weights of the image translation.
    """
    sound = unpack_sound(load_weights(sound_path, _ADVICE), sound_path)
    image = ResidualUNet(width=OPEN_IMAGE_WIDTH)
    load_strictly(image, load_weights(image_path, _ADVICE), image_path, _ADVICE)
    buffers = {name: value.numpy().astype(np.float64) for name, value in sound.named_buffers(recurse=False)}
    return Networks(sound.voice_encoder, sound.auto_vc, sound.content, sound.speaker, image.eval(), **buffers)


def pack_sound(sound: OpenSound) -> dict[str, torch.Tensor]:
    """Pack the open file's tensors in half precision, without those that are never used or can be computed."""
    return {
        name: value.half() if value.is_floating_point() else value
        for name, value in sound.state_dict().items()
        if not _is_left_out(name)
    }


def unpack_sound(weights: dict[str, torch.Tensor], path: Path) -> OpenSound:
    """Unpack the open file's tensors into networks in evaluation mode; the inverse of `pack_sound`.

    Raises:
        DataError: the tensors do not fit.
    """
    sound = OpenSound()
    left_out = {name: value for name, value in sound.state_dict().items() if _is_left_out(name)}
    load_strictly(sound, left_out | weights, path, _ADVICE)
    return sound.eval()


def open_depth() -> Float[np.ndarray, "68"]:
    """Compute the depths of the open model's mean landmarks, 0 at the outer corners of the eyes, in networks' units."""
    mean, _, _ = load_face_model().landmark_bases()
    scale = FACE_WIDTH_POINTS / np.ptp(mean[[0, 16], 0])
    return (mean[:, 2] - mean[list(_EYE_CORNERS), 2].mean()).astype(np.float64) * scale


def load_numbers(asset: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Load the numbers of a published text file.

    Args:
        asset: name of the asset.
        shape: number of rows, and of columns if there are several.

    Raises:
        DataError: the file is missing, is not a table of finite numbers, or has another shape.
    """
    path, expected = require_file(asset), " rows of ".join(map(str, shape)) + " numbers"
    try:
        values = np.array([line.split() for line in path.read_text("ascii").splitlines() if line.strip()], np.float64)
    except ValueError as error:
        raise DataError(_explain(asset, f"is no table of {expected}")) from error
    if values.ndim == 2 and values.shape[1] == 1 and len(shape) == 1:
        values = values[:, 0]
    if values.shape != shape:
        raise DataError(_explain(asset, f"holds an array of {values.shape}, expected are {expected}"))
    if not np.isfinite(values).all():
        raise DataError(_explain(asset, "holds NaN or infinity"))
    return values


def _is_left_out(name: str) -> bool:
    return name.startswith("speaker.decoder.") or name.endswith(".pe")


def _explain(asset: str, reason: str) -> str:
    return f"{find_asset(asset).found} {reason}. Fetch it again from {find_asset(asset).source}."
