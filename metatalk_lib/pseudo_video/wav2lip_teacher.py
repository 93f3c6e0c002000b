"""The Wav2Lip teacher: the published network makes the face in the pseudo video's frames speak a recording."""

import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.assets import require_file
from metatalk_lib.core.checkpoints import load_published
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.networks.wav2lip import WAV2LIP_FACE_SIZE, Wav2LipGenerator
from metatalk_lib.pseudo_video.pairs import PSEUDO_SIZE
from metatalk_lib.pseudo_video.viseme_teacher import Spoken
from metatalk_lib.speech.corpus import Utterance
from metatalk_lib.speech.mel_spectrogram import chunk_starts, compute_mel_spectrogram, cut_mel_chunks
from metatalk_lib.tracking.face_detector import boxes_of_faces

PADS_PX = (0, 10, 0, 0)
"""Padding of a face box at its top, bottom, left and right, px of the 256 px video."""
SMOOTHING_FRAMES = 5
_BATCH = 32
"""Faces in one batch; the official 128 needs four times the memory for the same result."""


class Wav2LipTeacher:
    """Wav2Lip's generator with the inference recipe of its authors.

    Face boxes, in whole pixels as in the official code, come from the landmarks of stage 01; they are padded, clipped
    to the frame and smoothed over time as there. Unlike there, the frames play forwards and backwards instead of
    restarting with a jump, and every frame has a mel chunk, while the official list ends about three frames early
    (`mel_spectrogram.chunk_starts`).

    Args:
        network: the generator with published weights, from `load_wav2lip`.
        landmarks: (F, 68, 2) landmarks of the video's frames, px.
        frame_id: (F,) frame numbers of the landmarks, ascending.
        size: width and height of the video, px.
        weights: identifier of the weights, for `fingerprint`.
        device: where the network runs.

    Raises:
        ParameterError: landmarks and numbers differ in length.

    Source: Meta Talk 2.1 and 2.3; recipe of Rudrabha/Wav2Lip inference.py (research only), by its facts.
    """

    name = "wav2lip"
    needs_phonemes = False

    def __init__(
        self,
        network: Wav2LipGenerator,
        landmarks: Float[np.ndarray, "F 68 2"],
        frame_id: Int[np.ndarray, " G"],
        *,
        size: tuple[int, int] = (PSEUDO_SIZE, PSEUDO_SIZE),
        weights: str = "",
        device: torch.device | None = None,
    ) -> None:
        if len(landmarks) != len(frame_id):
            raise ParameterError(f"wav2lip: landmarks of {len(landmarks)} frames, but {len(frame_id)} frame numbers.")
        self.device = device or torch.device("cpu")
        self.network = network.to(self.device).eval()
        self.frame_id, self.weights = frame_id, weights
        self.boxes = smooth_wav2lip_boxes(
            np.clip(pad_boxes(boxes_of_faces(landmarks).astype(np.int64), PADS_PX), 0, size * 2)
        )

    def speak(
        self,
        utterance: Utterance,
        fps: Fraction,
        frame_id: Int[np.ndarray, " T"],
        frames: Iterable[UInt8[np.ndarray, "S S 3"]],
    ) -> Spoken:
        """Make the face say the utterance; there are no expressions, since the network paints pixels."""
        return Spoken(self.paint(utterance.speech.samples, fps, frame_id, frames), None)

    def paint(
        self,
        samples_16k: Float[np.ndarray, " S"],
        fps: Fraction,
        frame_id: Int[np.ndarray, " T"],
        frames: Iterable[UInt8[np.ndarray, "H W 3"]],
    ) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield the frames with a mouth that speaks the samples.

        Args:
            samples_16k: mono speech.
            fps: frame rate of the frames, Hz.
            frame_id: number of each frame in the video, in any order.
            frames: RGB frames of the video's size.

        Raises:
            DataError: a frame has no landmarks.
        """
        mel = compute_mel_spectrogram(samples_16k)
        chunks = cut_mel_chunks(mel, chunk_starts(mel.shape[1], len(frame_id), fps))
        return self._paint_rows(self._select(frame_id), chunks, frames)

    def fingerprint(self, frame_id: Int[np.ndarray, " T"]) -> bytes:
        """Return the identifier of the weights and the boxes of the frames."""
        return f"{self.name} {self.weights}".encode() + self._select(frame_id).tobytes()

    def _select(self, frame_id: Int[np.ndarray, " T"]) -> Int[np.ndarray, "T 4"]:
        rows = np.searchsorted(self.frame_id, frame_id).clip(0, len(self.frame_id) - 1)
        if not np.array_equal(self.frame_id[rows], frame_id):
            raise DataError("wav2lip: some frames have no landmarks. Run 01_crop again.")
        return self.boxes[rows]

    def _paint_rows(
        self, boxes: Int[np.ndarray, "T 4"], chunks: Float[np.ndarray, "T 80 16"], frames: Iterable[np.ndarray]
    ) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        rows = zip(boxes, chunks, frames, strict=True)
        while batch := list(itertools.islice(rows, _BATCH)):
            faces = np.stack([_cut_face(frame, box) for box, _, frame in batch])
            painted = self._generate(np.stack([chunk for _, chunk, _ in batch]), faces)
            for (box, _, frame), face in zip(batch, painted, strict=True):
                yield _paste_face(frame, box, face)

    def _generate(
        self, chunks: Float[np.ndarray, "B 80 16"], faces: UInt8[np.ndarray, "B 96 96 3"]
    ) -> UInt8[np.ndarray, "B 96 96 3"]:
        """Generate speaking faces, BGR, from two copies of each face, the first without its lower half."""
        masked = faces.copy()
        masked[:, WAV2LIP_FACE_SIZE // 2 :] = 0
        inputs = np.concatenate([masked, faces], axis=3).transpose(0, 3, 1, 2).astype(np.float32) / 255
        with torch.no_grad():
            out = self.network(
                torch.from_numpy(chunks[:, None].copy()).to(self.device), torch.from_numpy(inputs).to(self.device)
            )
        # truncated, not rounded, as the official code has it
        return (out.cpu().numpy().transpose(0, 2, 3, 1) * 255).astype(np.uint8)


def load_wav2lip(path: Path | None = None) -> tuple[Wav2LipGenerator, str]:
    """Load the generator with published weights, and the checksum of the file.

    Takes `wav2lip.pth` and `wav2lip_gan.pth` (a dict with `state_dict`, keys with or without `module.`) and the
    TorchScript files of the current README, `Wav2Lip-SD-GAN.pt` and `Wav2Lip-SD-NOGAN.pt`.

    Args:
        path: the file; by default where the asset `wav2lip` is placed.

    Raises:
        DataError: the file is missing, cannot be read safely, or does not fit the network key by key.

    Source: Rudrabha/Wav2Lip inference.py; file names of its README.
    """
    path = path or require_file("wav2lip")
    return load_published(Wav2LipGenerator, "wav2lip", path, may_be_script=True), sha256_file(path)


def pad_boxes(boxes: Int[np.ndarray, "T 4"], pads_px: tuple[int, int, int, int]) -> Int[np.ndarray, "T 4"]:
    """Grow boxes (left, top, right, bottom) by paddings at the top, bottom, left and right, px."""
    top, bottom, left, right = pads_px
    return boxes + np.array([-left, -top, right, bottom])


def smooth_wav2lip_boxes(boxes: Int[np.ndarray, "T 4"]) -> Int[np.ndarray, "T 4"]:
    """Average each box over five frames as Wav2Lip does: forward, in place, in whole numbers.

    Box i becomes the truncated mean of boxes i to i + 4; each of the last four rows becomes the mean of the last five
    rows, including those already replaced. Fewer than five boxes are all averaged together (the official code then
    averages only the last one, two or three).

    Args:
        boxes: whole numbers; the array is not changed.

    Source: Rudrabha/Wav2Lip inference.py.
    """
    smoothed = boxes.copy()
    for row in range(len(smoothed)):
        first = min(row, max(0, len(smoothed) - SMOOTHING_FRAMES))
        smoothed[row] = np.mean(smoothed[first : first + SMOOTHING_FRAMES], axis=0)
    return smoothed


def _cut_face(frame: UInt8[np.ndarray, "H W 3"], box: np.ndarray) -> UInt8[np.ndarray, "96 96 3"]:
    left, top, right, bottom = box
    if right <= left or bottom <= top:
        raise DataError(f"wav2lip: the face box {box.tolist()} is empty. Look at the landmarks of 01_crop.")
    return cv2.resize(frame[top:bottom, left:right, ::-1], (WAV2LIP_FACE_SIZE, WAV2LIP_FACE_SIZE))


def _paste_face(
    frame: UInt8[np.ndarray, "H W 3"], box: np.ndarray, face: UInt8[np.ndarray, "96 96 3"]
) -> UInt8[np.ndarray, "H W 3"]:
    left, top, right, bottom = box
    out = frame.copy()
    out[top:bottom, left:right] = cv2.resize(face, (int(right - left), int(bottom - top)))[..., ::-1]
    return out
