"""LSE-D and LSE-C: SyncNet's distance of lips and sound at the best offset, and its margin over other offsets.

The same formulas serve two networks whose scores must never be mixed: the published weights give LSE-D and LSE-C, the
open ones give LSE-D (open) and LSE-C (open).
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int16, UInt8
from torch import Tensor

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.networks.syncnet import SYNCNET_FACE_SIZE, SYNCNET_MFCC_STEPS, WINDOW_FRAMES, SyncNet
from metatalk_lib.speech.mfcc import compute_syncnet_mfcc

MAX_OFFSET = 15
"""Largest offset that is tried, frames; offsets range from -15 to 15."""
SYNCNET_FPS = 25
"""Frame rate of SyncNet's input, Hz."""
SAMPLES_PER_FRAME = 640
OPEN_SYNCNET_PATH = PACKAGE_DATA_DIR / "syncnet_open.safetensors"
OPEN_SYNCNET_WIDTH = 0.5
"""Width of the open SyncNet relative to the published one."""
MIN_FRAMES = WINDOW_FRAMES + 1
"""Minimum number of frames for a comparison."""

_STEPS_PER_FRAME = 4
_EPSILON = 1e-6
_BATCH = 20


class LipSyncError(NamedTuple):
    """SyncNet's score of one clip.

    Attributes:
        distance: LSE-D, lower is better; 0 if both streams agree exactly.
        confidence: LSE-C, higher is better; median of the distances at all offsets minus the smallest. 0 if no offset
            is better than another.
        offset: offset with the smallest distance, frames; positive if the sound comes before the lips.
    """

    distance: float
    confidence: float
    offset: int


class EmbeddedClip(NamedTuple):
    """SyncNet's embeddings of a clip's picture and sound.

    Attributes:
        seen: one vector for every five frames.
        heard: one vector for every frame's 200 ms of sound; the same number.
    """

    seen: Float[Tensor, "N E"]
    heard: Float[Tensor, "N E"]

    def shifted(self, frames: int) -> "EmbeddedClip":
        """Delay the sound by some frames and keep the common part; a negative shift advances the sound."""
        count = len(self.seen) - abs(frames)
        late, early = max(frames, 0), max(-frames, 0)
        return EmbeddedClip(self.seen[late : late + count], self.heard[early : early + count])


def embed_faces(network: SyncNet, faces: UInt8[np.ndarray, "T 224 224 3"]) -> Float[Tensor, "N E"]:
    """Compute one vector for every five consecutive frames.

    Args:
        network: SyncNet in evaluation mode.
        faces: RGB face crops, 25 per second.

    Returns:
        (T - 4, E) vectors, the first one for frames 0 to 4.

    Raises:
        ParameterError: there are fewer than five frames.
    """
    if len(faces) < WINDOW_FRAMES:
        raise ParameterError(f"SyncNet reads {WINDOW_FRAMES} frames at a time, got {len(faces)}.")
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode():
        for first in range(0, len(faces) - WINDOW_FRAMES + 1, _BATCH):
            piece = torch.from_numpy(faces[first : first + _BATCH + WINDOW_FRAMES - 1, ..., ::-1].copy()).to(device)
            windows = piece.permute(3, 0, 1, 2).float().unfold(1, WINDOW_FRAMES, 1).permute(1, 0, 4, 2, 3)
            found.append(network.forward_lip(windows.contiguous()).cpu())
    return torch.cat(found)


def embed_speech(network: SyncNet, pcm_16k: Int16[np.ndarray, " S"]) -> Float[Tensor, "N E"]:
    """Compute one vector for every frame's 200 ms of speech.

    Args:
        network: SyncNet in evaluation mode.
        pcm_16k: mono sound, 16 kHz, 16 bits.

    Raises:
        ParameterError: the sound is shorter than 200 ms.
    """
    mfcc = torch.from_numpy(compute_syncnet_mfcc(pcm_16k))
    if mfcc.shape[1] < SYNCNET_MFCC_STEPS:
        raise ParameterError(f"SyncNet reads 200 ms of speech at a time, got {len(pcm_16k) / 16:.0f} ms.")
    device = next(network.parameters()).device
    windows = mfcc.unfold(1, SYNCNET_MFCC_STEPS, _STEPS_PER_FRAME).permute(1, 0, 2)[:, None]
    with torch.inference_mode():
        return torch.cat(
            [network.forward_aud(part.contiguous().to(device)).cpu() for part in torch.split(windows, _BATCH)]
        )


def compute_offset_distances(faces: Float[Tensor, "N E"], speech: Float[Tensor, "M E"]) -> Float[np.ndarray, "31"]:
    """Compute the mean distance of the two streams at each offset.

    d(k) = mean over f of ‖v_f − a_{f+k} + ε‖, k = −15 … 15, ε = 10⁻⁶, a = 0 outside the clip

    The zeros outside are included in the means, as in the published scores.

    Args:
        faces: vectors v, one per frame.
        speech: vectors a, the same number.

    Returns:
        (31,) distances in the order of k.

    Raises:
        ParameterError: the streams differ in length, or are empty.

    Source: Rudrabha/Wav2Lip evaluation/scores_LSE; joonson/syncnet_python SyncNetInstance.py.
    """
    if faces.shape != speech.shape or not len(faces):
        raise ParameterError(f"SyncNet streams of {tuple(faces.shape)} and {tuple(speech.shape)}: they must be alike.")
    padded = torch.nn.functional.pad(speech, (0, 0, MAX_OFFSET, MAX_OFFSET))
    windows = padded.unfold(0, len(faces), 1).permute(0, 2, 1)
    distances: np.ndarray = (faces - windows + _EPSILON).norm(dim=2).mean(dim=1).double().numpy()
    return distances


def compute_lse(distances: Float[np.ndarray, "31"]) -> LipSyncError:
    """Compute LSE-D = min d, LSE-C = median d − min d, offset = −argmin d.

    Args:
        distances: distances d(k) from `compute_offset_distances`.

    Source: Prajwal et al., "A lip sync expert is all you need", 2020, section 4.2.
    """
    least = int(np.argmin(distances))
    return LipSyncError(float(distances[least]), float(np.median(distances) - distances[least]), MAX_OFFSET - least)


def embed_clip(network: SyncNet, faces: UInt8[np.ndarray, "T S S 3"], pcm_16k: Int16[np.ndarray, " N"]) -> EmbeddedClip:
    """Compute the vectors of a clip's faces and speech over their common length, counted as in the published scores.

    Args:
        network: SyncNet in evaluation mode.
        faces: RGB face crops, 25 per second.
        pcm_16k: mono sound, 16 kHz, 16 bits.

    Raises:
        ParameterError: the clip is too short, or the crops are not 224 px wide.
    """
    count = min(len(faces), len(pcm_16k) // SAMPLES_PER_FRAME) - WINDOW_FRAMES
    if count < 1 or faces.shape[1:3] != (SYNCNET_FACE_SIZE, SYNCNET_FACE_SIZE):
        raise ParameterError(
            f"LSE needs at least {MIN_FRAMES} frames of {SYNCNET_FACE_SIZE} px and as much sound, got {len(faces)} of "
            f"{faces.shape[1]} px and {len(pcm_16k) / 16000:.2f} s."
        )
    seen = embed_faces(network, faces[: count + WINDOW_FRAMES - 1])
    return EmbeddedClip(seen, embed_speech(network, pcm_16k)[:count])


def score_clip(clip: EmbeddedClip) -> LipSyncError:
    """Compute the LSE of one clip: `compute_lse` of its `compute_offset_distances`."""
    return compute_lse(compute_offset_distances(clip.seen, clip.heard))
