"""Computation of the 256 audio features from MFCC blocks, by the open encoder or the published AT-net."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.assets import require_file
from metatalk_lib.core.checkpoints import load_published, load_strictly, load_weights
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.media.audio import Recording, frame_count_for, stream_mono_16k
from metatalk_lib.networks.at_net import ATNet
from metatalk_lib.networks.open_audio_encoder import OpenAudioEncoder, SpeechHeads
from metatalk_lib.speech.mfcc import stream_mfcc_blocks
from metatalk_lib.speech.visemes import VISEMES

AUDIO_ENCODERS = ("open", "atnet")
OPEN_FILE = "audio_encoder_open.safetensors"
ENCODE_BATCH = 256


class ATNetEncoder(nn.Module):
    """AT-net's audio encoder with the interface of the open encoder.

    Args:
        network: AT-net with the published weights.
    """

    def __init__(self, network: ATNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, mfcc: Float[Tensor, "T 28 12"]) -> Float[Tensor, "T 256"]:
        """Compute the audio feature f of each frame from its own MFCC block alone."""
        return self.network.encode_audio(mfcc[None])[0]


def load_audio_encoder(name: str = "open") -> nn.Module:
    """Load a trained audio encoder, in evaluation mode.

    Args:
        name: `open`, trained by `training/train_audio_encoder.py` and shipped with the library, or `atnet`, whose
            checkpoint is placed by hand.

    Returns:
        A module that maps (T, 28, 12) MFCC blocks to (T, 256) features.

    Raises:
        ParameterError: there is no such encoder.
        DataError: its weights are missing or do not fit.
    """
    _check_name(name)
    return load_open_speech()[0] if name == "open" else load_atnet_encoder()


def load_open_speech() -> tuple[OpenAudioEncoder, SpeechHeads]:
    """Load the shipped encoder and the heads it was trained with, in evaluation mode.

    Raises:
        DataError: the weights are missing or do not fit.
    """
    encoder, heads = OpenAudioEncoder(), SpeechHeads(len(VISEMES))
    speech = nn.ModuleDict({"encoder": encoder, "heads": heads})
    path, advice = PACKAGE_DATA_DIR / OPEN_FILE, "Make it with training/train_audio_encoder.py."
    load_strictly(speech, load_weights(path, advice), path, advice)
    speech.eval()
    return encoder, heads


def load_atnet_encoder(path: Path | None = None) -> ATNetEncoder:
    """Load AT-net with the published weights, in evaluation mode.

    Args:
        path: path of the checkpoint, a flat state dict whose keys begin with `module.`; by default the asset `atnet`.

    Raises:
        DataError: the file is missing, cannot be read safely, or does not fit the network key by key.

    Source: nesting of lelechen63/ATVGnet code/demo.py.
    """
    return ATNetEncoder(load_published(ATNet, "atnet", path)).eval()


def encoder_file(name: str) -> Path:
    """Return the file of an encoder's weights. A2E networks are valid only for the features they were trained on.

    Raises:
        ParameterError: there is no such encoder.
        DataError: its weights are missing.
    """
    _check_name(name)
    return PACKAGE_DATA_DIR / OPEN_FILE if name == "open" else require_file("atnet")


def fingerprint_encoder(name: str) -> str:
    """Return the checksum of an encoder's weights; raises the same errors as `encoder_file`."""
    return sha256_file(encoder_file(name))


def encode_audio(encoder: nn.Module, mfcc: Float[np.ndarray, "T 28 12"]) -> Float[np.ndarray, "T 256"]:
    """Compute the audio feature f of each frame.

    Args:
        encoder: audio encoder from `load_audio_encoder`.
        mfcc: MFCC blocks from `mfcc.compute_mfcc_blocks`, not normalised.

    Raises:
        DataError: a block contains NaN or infinity.

    Source: Meta Talk 2.3.
    """
    if not np.isfinite(mfcc).all():
        raise DataError("the MFCC blocks hold NaN or infinity. Look at the recording they were made from.")
    device = next(encoder.parameters()).device
    blocks = torch.from_numpy(np.ascontiguousarray(mfcc, np.float32)).split(ENCODE_BATCH)
    with torch.no_grad():
        return torch.cat([encoder(block.to(device)).cpu() for block in blocks]).numpy()


def stream_features(encoder: nn.Module, recording: Recording, fps: Fraction) -> Iterator[Float[np.ndarray, "_ 256"]]:
    """Yield the features of all frames that a recording fills, in groups; memory does not grow with its length.

    Args:
        encoder: audio encoder from `load_audio_encoder`.
        recording: audio at any sampling rate.
        fps: frame rate of the video, Hz.
    """
    pieces = stream_mono_16k(recording)
    for blocks in stream_mfcc_blocks(pieces, frame_count_for(recording, fps), fps):
        yield encode_audio(encoder, blocks)


def predict_actions(features: Iterable[Float[np.ndarray, "_ 256"]], heads: SpeechHeads) -> Float[np.ndarray, "T 52"]:
    """Predict the facial actions of an average mouth from audio features, without any lead over the sound.

    The prediction comes from the open encoder's own heads.

    Args:
        features: features of the open encoder, in groups as yielded by `stream_features`.
        heads: heads from `load_open_speech`.

    Returns:
        Facial actions, with columns as in `visemes.ARKIT_ACTIONS`.

    Source: original to this project.
    """
    with torch.no_grad():
        return heads.predict_actions(torch.from_numpy(np.concatenate(list(features)))).numpy()


def hear_pauses(features: Float[np.ndarray, "T 256"], heads: SpeechHeads) -> Float[np.ndarray, " T"]:
    """Estimate the probability that nobody speaks in a frame, by the open encoder's viseme head.

    Music and noise are pauses.

    Args:
        features: features of the open encoder.
        heads: heads from `load_open_speech`.

    Source: original to this project.
    """
    with torch.no_grad():
        shares = heads.visemes(torch.from_numpy(features)).softmax(dim=1)
    return shares[:, list(VISEMES).index("sil")].numpy()


def _check_name(name: str) -> None:
    if name not in AUDIO_ENCODERS:
        raise ParameterError(f"no audio encoder `{name}`. There are: {', '.join(AUDIO_ENCODERS)}.")
