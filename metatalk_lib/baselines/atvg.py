"""ATVG (Chen et al. 2019): AT-net moves the landmarks of one still picture, VG-net draws the face with these landmarks.

The face is 128 px, drawn at 25 frames per second and pasted into the still where it was cut out; nothing else moves.

With the published weights everything follows the authors' demo. One of its steps is a mistake and kept: the landmarks
of a single still are normalised by themselves, so that the networks receive the same constant whatever the face is, and
the face's own landmarks only place the square. With the open weights the networks receive the face's own landmarks, in
the space that is stored with the weights, and AT-net predicts the difference of the lips from the still's, so the
demo's gains do not apply. Both stretch each picture's contrast to the full range as the demo does.

Where the square extends beyond the demo's crop, it shows the rest of the picture; the demo shows black there.
"""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from metatalk_lib.baselines.atvg_landmarks import LANDMARK_SCALE, FacePlace, LandmarkSpace, PublishedSpace
from metatalk_lib.baselines.opening import open_talk
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.assets import find_asset, require_file
from metatalk_lib.core.checkpoints import Weights, load_published, load_strictly, load_weights, takes_open
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.core.progress import track
from metatalk_lib.media.audio import frame_count_for, open_audio, to_mono_16k
from metatalk_lib.media.frame_order import frames_on_screen
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.at_net import ATNet
from metatalk_lib.networks.vg_net import VGNet
from metatalk_lib.speech.mfcc import stream_mfcc_blocks
from metatalk_lib.tracking.landmarks import read_frame_landmarks

ATVG_FPS = Fraction(25)
"""Frame rate of AT-net, Hz."""
OPEN_ATVG_PATH = PACKAGE_DATA_DIR / "atvg_open.safetensors"
PUBLISHED_LANDMARKS_PATH = PACKAGE_DATA_DIR / "atvg_landmarks.json"
ATVG_ASSETS = ("atnet", "vgnet", "atvg_mean", "atvg_components", "atvg_base")
OPEN_ATVG_WIDTH = 0.25
COMPONENTS = 6
SHORTEST_SAMPLES = 721
"""Minimum length at 16 kHz, samples; the demo makes no MFCC block from less."""
DRAWN_TOGETHER = 16
"""Number of frames that VG-net draws at once."""
_TOLERANCE = 1e-3


class ATVG(NamedTuple):
    """Both networks in evaluation mode, and the landmark space between them."""

    at_net: ATNet
    vg_net: VGNet
    space: LandmarkSpace


class OpenATVG(nn.Module):
    """Container of the contents of `atvg_open.safetensors`, key for key.

    Args:
        width: width of both networks.
    """

    base: Tensor
    mean: Tensor
    components: Tensor

    def __init__(self, width: float = OPEN_ATVG_WIDTH) -> None:
        super().__init__()
        self.at_net, self.vg_net = ATNet(width=width), VGNet(width)
        self.register_buffer("base", torch.zeros(68, 2))
        self.register_buffer("mean", torch.zeros(136))
        self.register_buffer("components", torch.zeros(136, COMPONENTS))

    def freeze(self) -> ATVG:
        """Return the networks in evaluation mode, with their landmark space."""
        space = LandmarkSpace(*(part.float().cpu().numpy() for part in (self.base, self.mean, self.components)))
        return ATVG(self.at_net.eval(), self.vg_net.eval(), space)


def talk_atvg(
    character_dir: Path,
    audio_path: Path,
    output: Path,
    *,
    weights: Weights = "auto",
    start_frame: int = 0,
    device: torch.device | None = None,
) -> Path:
    """Make one still of a character folder speak a recording, with ATVG's method.

    The faces are drawn at 25 frames per second; each frame of the output shows the face that is on the screen in its
    middle.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        audio_path: any recording that can be decoded.
        output: the .mp4 to write, at the source's size and rate.
        weights: `official` uses the published files, `open` ours, `auto` the published ones if all are placed.
        start_frame: source frame used as the still.
        device: device on which the networks run; the CPU by default.

    Returns:
        `output`.

    Raises:
        DataError: a file is missing or does not fit, or the recording is silent or shorter than 45 ms.
        ParameterError: `start_frame` is not in the source, there are no such weights, or `output` is not permitted.

    Source: Chen et al. 2019; facts of lelechen63/ATVGnet code/demo.py (MIT).
    """
    character = open_talk(character_dir, audio_path, output, start_frame)
    atvg = load_atvg(weights, device)
    audio = open_audio(audio_path)
    landmarks = read_frame_landmarks(character_dir / "01_crop" / "landmarks.npz", start_frame)
    (still,) = read_frames(character.source, start_frame, start_frame + 1)
    place = FacePlace.find(landmarks, atvg.space.base)
    example = atvg.space.describe(place, landmarks)
    shown, repeats = np.unique(
        frames_on_screen(frame_count_for(audio, character.fps), character.fps, ATVG_FPS), return_counts=True
    )
    moved = move_atvg_landmarks(atvg, _check_samples(to_mono_16k(audio), audio_path), int(shown[-1]) + 1, example)
    faces = draw_faces(atvg, place.cut(still), moved[shown], atvg.space.decode(example))
    pictures = (place.paste(still, stretch(face)) for face in track(faces, "talking as ATVG", total=len(shown)))
    frames = (picture for picture, times in zip(pictures, repeats, strict=True) for _ in range(times))
    write_video(output, frames, fps=character.fps, audio=audio)
    return output


def label_atvg(weights: Weights = "auto") -> str:
    """Return the method's label in the tables; the published name is reserved for the published weights."""
    return "ATVG (open weights)" if takes_open(weights, *ATVG_ASSETS) else "ATVG"


def list_atvg_files(weights: Weights = "auto") -> tuple[Path, ...]:
    """Return the files that determine the pictures.

    Raises:
        DataError: a file is missing.
    """
    if takes_open(weights, *ATVG_ASSETS):
        return (OPEN_ATVG_PATH,)
    return (PUBLISHED_LANDMARKS_PATH, *map(require_file, ATVG_ASSETS))


def move_atvg_landmarks(
    atvg: ATVG, samples_16k: Float[np.ndarray, " S"], frame_count: int, example: Float[np.ndarray, "6"]
) -> Float[np.ndarray, "T 136"]:
    """Predict AT-net's landmarks of every frame, in the normalised space.

    Args:
        atvg: networks and landmark space.
        samples_16k: mono sound at 16 kHz.
        frame_count: number of frames T, at 25 per second.
        example: coefficients of the still.
    """
    device = next(atvg.at_net.parameters()).device
    with torch.no_grad():
        blocks = stream_mfcc_blocks([samples_16k], frame_count, ATVG_FPS)
        features = [atvg.at_net.encode_audio(torch.from_numpy(group)[None].to(device)) for group in blocks]
        given = torch.from_numpy(example)[None].to(device)
        told = atvg.at_net.drive(given, torch.cat(features, dim=1))[0].cpu().numpy()
    return atvg.space.decode(atvg.space.move(example, told))


def draw_faces(
    atvg: ATVG,
    face: UInt8[np.ndarray, "128 128 3"],
    landmarks: Float[np.ndarray, "T 136"],
    example: Float[np.ndarray, "136"],
) -> Iterator[Float[np.ndarray, "128 128 3"]]:
    """Yield VG-net's pictures, RGB in [-1, 1].

    The batch is a single face whose frames are independent of each other, so they may be drawn in groups.

    Args:
        atvg: networks and landmark space.
        face: face of the still.
        landmarks: wanted landmarks, normalised.
        example: landmarks of the still, normalised.
    """
    device = next(atvg.vg_net.parameters()).device
    given = torch.from_numpy(face).permute(2, 0, 1)[None].to(device).float() / 127.5 - 1
    own = torch.from_numpy(example)[None].to(device)
    for wanted in torch.from_numpy(landmarks)[None].to(device).split(DRAWN_TOGETHER, dim=1):
        with torch.no_grad():
            images = atvg.vg_net(given, wanted, own, is_independent=True).images[0]
        yield from images.permute(0, 2, 3, 1).cpu().numpy()


def stretch(image: Float[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """Map the smallest value to 0 and the largest to 255, rounded half up, as the demo's `scipy.misc.imsave` did."""
    low, high = image.min(), image.max()
    return ((image - low) * (255.0 / (high - low if high > low else 1.0)) + 0.5).astype(np.uint8)


def load_atvg(weights: Weights = "auto", device: torch.device | None = None) -> ATVG:
    """Load networks and landmark space, in evaluation mode.

    Raises:
        DataError: a file is missing or does not fit.
        ParameterError: there are no such weights.
    """
    atvg = load_open_atvg() if takes_open(weights, *ATVG_ASSETS) else _load_official()
    place = device or torch.device("cpu")
    return atvg._replace(at_net=atvg.at_net.to(place), vg_net=atvg.vg_net.to(place))


def load_open_atvg(path: Path = OPEN_ATVG_PATH) -> ATVG:
    """Load the open weights; raises the same errors as `load_atvg`."""
    network, advice = OpenATVG(), "Make it with training/train_atvg.py."
    load_strictly(network, load_weights(path, advice), path, advice)
    return network.freeze()


def _load_official() -> ATVG:
    constants = {
        name: np.asarray(values, np.float32)
        for name, values in load_json(PUBLISHED_LANDMARKS_PATH)["landmarks"].items()
    }
    space = PublishedSpace(
        _read_array("atvg_base", (68, 2)),
        _read_array("atvg_mean", (136,)),
        _read_array("atvg_components", (136, COMPONENTS)),
        constants["constant_lmark"],
    )
    found = space.encode(LANDMARK_SCALE * space.constant)
    gaps = found - constants["at_input"], space.decode(found) - constants["vg_example"]
    if max(np.abs(gap).max() for gap in gaps) > _TOLERANCE:
        raise DataError(
            f"{require_file('atvg_mean')} and {require_file('atvg_components')} make the coefficients "
            f"{found.round(3).tolist()} of the published constant, expected {constants['at_input'].round(3).tolist()}. "
            f"Fetch both again from {find_asset('atvg_mean').source}."
        )
    return ATVG(load_published(ATNet, "atnet"), load_published(VGNet, "vgnet"), space)


def _read_array(asset: str, shape: tuple[int, ...]) -> Float[np.ndarray, "..."]:
    """Read an array of the official repository as float32; of a matrix with more columns, the first ones."""
    path, advice = require_file(asset), f"Fetch it again from {find_asset(asset).source}."
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as an array ({error}). {advice}") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise DataError(f"{path} is not one array of finite numbers. {advice}")
    kept = values.ravel() if len(shape) == 1 else values[..., : shape[1]]
    if kept.shape != shape:
        raise DataError(f"{path} holds an array of shape {values.shape}, expected {shape}. {advice}")
    return np.ascontiguousarray(kept, np.float32)


def _check_samples(samples_16k: Float[np.ndarray, " S"], path: Path) -> Float[np.ndarray, " S"]:
    if len(samples_16k) < SHORTEST_SAMPLES:
        raise DataError(
            f"ATVG: {path} lasts {len(samples_16k) / 16:.0f} ms; at least 45 ms are needed. Give a longer recording."
        )
    if not samples_16k.any():
        raise DataError(f"ATVG: {path} is silent from beginning to end. Give a recording with sound.")
    return samples_16k
