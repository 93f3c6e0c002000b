"""MakeItTalk as a compared method: a recording moves the landmarks of one still, from which a face is painted.

With all published files it is MakeItTalk by its own recipe; without them it uses networks of the same topology, trained
by this project on studio people and synthetic voices, under the name "MakeItTalk (open weights)".

Differences from the published code: the landmarks are those of stage 01, not those of 3D face alignment; the pitch is
tracked by pYIN instead of RAPT; silences are found by an energy rule, where Resemblyzer uses webrtcvad; blinks are
seeded. The published code overwrites the recording by one at −20 dBFS, so that from its second run on both voice
embeddings are computed from that file; here they are from the first run on. The published output is a 62.5 fps triptych
of 768 x 256 px (still, result and drawing), of which the middle third is scored; here only the result is written,
pasted into the still's source frame and shown at the source's rate. The last window begins about 0.3 s before the
recording ends (up to 0.4 s if the rest of a segment is dropped); for that time the last frame is held, as in players
that show the published file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from metatalk_lib.baselines.make_it_talk_audio import (
    AUTO_VC_HOP,
    STEPS_PER_S,
    bring_to_level,
    compute_auto_vc_mel,
    convert_voice,
    cut_windows,
    embed_voice,
    encode_pitch,
    normalise_pitch,
    track_pitch,
)
from metatalk_lib.baselines.make_it_talk_landmarks import (
    SHORTEST,
    add_blinks,
    calibrate_content,
    calm_speaker,
    draw_landmarks,
    find_frame,
    nudge_still,
    repair_lips,
    settle,
    smooth_in_image,
)
from metatalk_lib.baselines.make_it_talk_weights import MAKE_IT_TALK_ASSETS, Networks, load_networks
from metatalk_lib.baselines.opening import open_talk
from metatalk_lib.core.checkpoints import Weights, takes_open
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.progress import track
from metatalk_lib.media.audio import frame_count_for, read_audio, to_mono_16k
from metatalk_lib.media.frame_order import batched, frames_on_screen
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.make_it_talk import MAX_WINDOWS, NOISE_SIZE, WINDOW_STEPS
from metatalk_lib.networks.residual_unet import RESIDUAL_UNET_FACE_SIZE
from metatalk_lib.talk.character import Character
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import read_frame_landmarks

VOICE_GAIN = 3.0
"""Factor of the speaker branch's voice embedding."""
SHORTEST_SEGMENT = 10
"""Minimum number of windows of the last segment; a shorter one is dropped."""
RATE = Fraction(125, 2)
"""Frame rate of the landmarks, Hz, equal to `STEPS_PER_S`."""
PAINTED_AT_ONCE = 8


@dataclass(frozen=True)
class Still:
    """The single picture of a person that MakeItTalk uses.

    Attributes:
        frame: source frame, RGB.
        crop: square crop of the frame, RGB.
        landmarks: landmarks, px of the square.
        transform: position of the square in the frame.
    """

    frame: UInt8[np.ndarray, "H W 3"]
    crop: UInt8[np.ndarray, "256 256 3"]
    landmarks: Float[np.ndarray, "68 2"]
    transform: CropTransform


def label_make_it_talk(weights: Weights = "auto") -> str:
    """Return the method's label in the tables."""
    return "MakeItTalk (open weights)" if takes_open(weights, *MAKE_IT_TALK_ASSETS) else "MakeItTalk"


def talk_make_it_talk(
    character_dir: Path,
    audio_path: Path,
    output: Path,
    *,
    weights: Weights = "auto",
    start_frame: int = 0,
    device: torch.device | None = None,
) -> Path:
    """Make the person of a character folder speak a recording, with MakeItTalk's method.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        audio_path: any recording that can be decoded.
        output: the .mp4 to write, at the source's size.
        weights: choice of weights, see `checkpoints.takes_open`.
        start_frame: source frame used as the still.
        device: device on which the networks run; the CPU by default.

    Returns:
        `output`.

    Raises:
        DataError: a file is missing or does not fit, or the recording is silent or too short.
        ParameterError: `start_frame` is not in the source, `output` is not an .mp4 or is one of the input files, or the
            still shows the face from the side.

    Source: Zhou et al. 2020; facts of adobe-research/MakeItTalk main_end2end.py.
    """
    character = open_talk(character_dir, audio_path, output, start_frame)
    still, audio = load_still(character_dir, character, start_frame), read_audio(audio_path)
    networks = load_networks(weights, device)
    points = move_still_landmarks(networks, to_mono_16k(audio), still.landmarks)
    shown = frames_on_screen(frame_count_for(audio, character.fps), character.fps, RATE)
    order = np.minimum(shown, len(points) - 1)
    frames = track(
        paint_still_frames(networks, still, points, order),
        f"talking as {label_make_it_talk(weights)}",
        total=len(order),
    )
    write_video(output, frames, fps=character.fps, audio=audio)
    return output


def load_still(character_dir: Path, character: Character, frame_id: int) -> Still:
    """Load a source frame with its crop and its landmarks.

    Args:
        character_dir: `outputs/<character>`, with stage 01.
        character: character of that folder.
        frame_id: number of the frame.

    Raises:
        DataError: stage 01 has no landmarks of this frame.
    """
    landmarks = read_frame_landmarks(character_dir / "01_crop" / "landmarks.npz", frame_id)
    (frame,) = read_frames(character.source, frame_id, frame_id + 1)
    transform = replace(character.transform, size=RESIDUAL_UNET_FACE_SIZE)
    points = transform.to_crop(landmarks.astype(np.float64))
    return Still(frame, transform.crop_image(frame), points, transform)


def move_still_landmarks(
    networks: Networks, samples_16k: Float[np.ndarray, " S"], still: Float[np.ndarray, "68 2"]
) -> Float[np.ndarray, "T 68 3"]:
    """Move the still's landmarks according to the recording, at 62.5 frames per second.

    Args:
        networks: all networks.
        samples_16k: the recording, mono, 16 kHz.
        still: landmarks of the still, px of the square.

    Returns:
        Landmarks: x, y in px of the square; the depth is in the networks' units.

    Raises:
        DataError: the recording is silent or too short.
        ParameterError: the face is seen from the side.
    """
    windows, voice = hear(networks, samples_16k)
    points = np.pad(nudge_still(still), ((0, 0), (0, 1)))
    frame = find_frame(points)
    face = frame.to_network(points, networks.depth)
    starts = range(0, len(windows), MAX_WINDOWS)
    segments = [windows[start : start + MAX_WINDOWS] for start in starts]
    moved = [
        repair_lips(face + displace(networks, segment, voice, face).reshape(-1, 68, 3))
        for segment in segments
        if len(segment) >= SHORTEST_SEGMENT
    ]
    return smooth_in_image(add_blinks(frame.to_image(settle(np.concatenate(moved)))))


def hear(
    networks: Networks, samples_16k: Float[np.ndarray, " S"]
) -> tuple[Float[np.ndarray, "W 18 80"], Float[np.ndarray, "256"]]:
    """Compute the windows of the standardised content feature, and the embedding of the voice.

    Raises:
        DataError: the recording is silent or too short.
    """
    needed = (WINDOW_STEPS + SHORTEST - 1) * AUTO_VC_HOP
    if len(samples_16k) < needed:
        raise DataError(
            f"the recording lasts {len(samples_16k) / (AUTO_VC_HOP * STEPS_PER_S):.2f} s; MakeItTalk needs at least "
            f"{needed / (AUTO_VC_HOP * STEPS_PER_S):.2f} s. Give a longer one."
        )
    samples = bring_to_level(samples_16k)
    voice = embed_voice(networks.voice_encoder, samples)
    mel, pitch = compute_auto_vc_mel(samples), encode_pitch(normalise_pitch(track_pitch(samples)))
    feature = convert_voice(networks.auto_vc, mel, pitch, voice, networks.target_voice)
    return cut_windows((feature - networks.feature_mean) / networks.feature_std), voice


def displace(
    networks: Networks,
    windows: Float[np.ndarray, "W 18 80"],
    voice: Float[np.ndarray, "256"],
    face: Float[np.ndarray, "68 3"],
) -> Float[np.ndarray, "W 204"]:
    """Compute the displacements of one segment: the lips by the content branch, the head by the speaker branch.

    Args:
        networks: all networks.
        windows: windows of the content feature, at most 512.
        voice: embedding of the voice.
        face: landmarks of the still, in the networks' space.
    """
    device = next(networks.content.parameters()).device
    mel, still, who = (
        torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)
        for values in (windows, face.reshape(1, 204), np.tile(VOICE_GAIN * voice, (len(windows), 1)))
    )
    with torch.inference_mode():
        content = networks.content(mel, still).cpu().numpy()
        speaker = networks.speaker(mel, who, torch.zeros(len(windows), NOISE_SIZE, device=device))[0].cpu().numpy()
    return calm_speaker(speaker.astype(np.float64)) + calibrate_content(content.astype(np.float64))


def paint_still_frames(
    networks: Networks, still: Still, points: Float[np.ndarray, "N 68 3"], order: Int[np.ndarray, " T"]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the finished frames: the painted square, enlarged into the still's frame.

    Args:
        networks: all networks.
        still: the still.
        points: landmarks, px of the square.
        order: row of `points` that each frame shows.
    """
    for group in batched(order.tolist(), PAINTED_AT_ONCE):
        for square in paint_squares(networks, still.crop, np.stack([draw_landmarks(points[index]) for index in group])):
            yield still.transform.paste(still.frame, square)


def paint_squares(
    networks: Networks, still: UInt8[np.ndarray, "256 256 3"], drawings: UInt8[np.ndarray, "B 256 256 3"]
) -> UInt8[np.ndarray, "B 256 256 3"]:
    """Paint the face in the poses of the drawings, RGB.

    Args:
        networks: all networks.
        still: crop of the still, RGB.
        drawings: drawings of the landmarks, BGR.

    Source: facts of adobe-research/MakeItTalk src/approaches/train_image_translation.py.
    """
    shown = np.broadcast_to(still[..., ::-1], drawings.shape)
    inputs = np.concatenate([drawings, shown], axis=3).transpose(0, 3, 1, 2).astype(np.float32) / 255
    with torch.inference_mode():
        out = networks.image(torch.from_numpy(inputs).to(next(networks.image.parameters()).device))
        painted = (torch.tanh(out).clamp(min=0) * 255).to(torch.uint8).cpu().numpy()
    return np.ascontiguousarray(painted.transpose(0, 2, 3, 1)[..., ::-1])
