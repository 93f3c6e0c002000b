"""Training of MakeItTalk's image translation network on the pictures of `render_speakers`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from metatalk_lib.baselines.make_it_talk_landmarks import draw_landmarks
from metatalk_lib.baselines.make_it_talk_weights import OPEN_IMAGE_WIDTH
from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.metrics.image_quality import to_psnr
from metatalk_lib.networks.residual_unet import RESIDUAL_UNET_FACE_SIZE, ResidualUNet
from metatalk_lib.tracking.crop import CropTransform
from metatalk_lib.tracking.landmarks import MOUTH
from training.precision import low_precision
from training.train_make_it_talk_sound import optimise

BATCH = 8
SIDES = (0.88, 1.0)
"""Range of the crop's side relative to that of the picture; faces are then 120 to 165 px wide."""
JITTER_PX = 0.5
"""Standard deviation of the errors of the drawn landmarks, px."""
GAIN_RANGE = (0.75, 1.25)
"""Range of the random gain of a person's light in each colour."""
MOUTH_WEIGHT, MOUTH_MARGIN_PX = 1.0, 12
"""Weight of the mean error in the mouth rectangle besides that of the whole picture, and its margin around the lips."""
MEASURED_FRAMES = 8
"""Frames of each held-out person on which the card's values are measured."""


class Person(NamedTuple):
    """One person: JPEG bytes of each picture, landmarks (T, 68, 2), px, and the side of the pictures, px."""

    codes: list[np.ndarray]
    landmarks: np.ndarray
    size: int


class Example(NamedTuple):
    """Input, target and mouth rectangle of one training example.

    Attributes:
        drawing, still, target: (256, 256, 3) BGR.
        mouth: mouth rectangle as left, top, right, bottom, px.
    """

    drawing: np.ndarray
    still: np.ndarray
    target: np.ndarray
    mouth: tuple[int, int, int, int]


def load_person(path: Path) -> Person:
    """Load a person of `render_speakers`; the pictures stay JPEG-encoded to save memory."""
    arrays = load_arrays(path, "jpeg", "jpeg_length", "landmarks")
    codes = np.split(arrays["jpeg"], np.cumsum(arrays["jpeg_length"])[:-1])
    return Person(codes, arrays["landmarks"], len(cv2.imdecode(codes[0], cv2.IMREAD_COLOR)))


def make_example(
    person: Person, still: int, row: int, crop: CropTransform, generator: np.random.Generator | None = None
) -> Example:
    """Make an example from a still and another frame of a person, cut out by one crop.

    Args:
        person: the person.
        still, row: frame numbers of the still and the target.
        crop: crop of the pictures.
        generator: random generator of landmark errors; None draws the true landmarks.
    """
    shown, wanted = (crop.crop_image(cv2.imdecode(person.codes[index], cv2.IMREAD_COLOR)) for index in (still, row))
    points = crop.to_crop(person.landmarks[row].astype(np.float64))
    mouth = points[MOUTH]
    if generator is not None:
        points = points + generator.normal(0, JITTER_PX, points.shape)
    corners = np.concatenate([mouth.min(axis=0) - MOUTH_MARGIN_PX, mouth.max(axis=0) + MOUTH_MARGIN_PX])
    return Example(
        draw_landmarks(points), shown, wanted, tuple(np.clip(corners, 0, RESIDUAL_UNET_FACE_SIZE).astype(int).tolist())
    )


def draw_examples(people: list[Person], generator: np.random.Generator) -> list[Example]:
    """Draw examples with random people, frames, crops and light; half of them are mirrored."""
    examples = []
    for number in generator.integers(len(people), size=BATCH):
        person = people[number]
        side = int(person.size * generator.uniform(*SIDES))
        left, top = generator.integers(person.size - side + 1, size=2).tolist()
        still, row = generator.integers(len(person.codes), size=2).tolist()
        example = make_example(person, still, row, CropTransform(left, top, side, RESIDUAL_UNET_FACE_SIZE), generator)
        examples.append(_mirror(example) if generator.random() < 0.5 else example)
    return examples


def train_image(people: list[Person], steps: int, seed: int, start: Mapping[str, Tensor] | None = None) -> ResidualUNet:
    """Train on L1 with extra weight on the mouth rectangle, from weights of an earlier run if given.

    The published training uses L1, and content and style losses of VGG features.
    """
    torch.manual_seed(seed)
    network = ResidualUNet(width=OPEN_IMAGE_WIDTH)
    if start:
        network.load_state_dict(start)
    network.to(memory_format=torch.channels_last)
    generator = np.random.default_rng([seed, 5])

    def draw_loss() -> Tensor:
        examples = draw_examples(people, generator)
        gains = torch.from_numpy(generator.uniform(*GAIN_RANGE, (BATCH, 3, 1, 1)).astype(np.float32))
        drawings, stills, wanted = (to_tensor([getattr(e, name) for e in examples]) for name in Example._fields[:3])
        stills, wanted = (stills * gains).clamp(max=1), (wanted * gains).clamp(max=1)
        inputs = torch.cat([drawings, stills], dim=1).contiguous(memory_format=torch.channels_last)
        with low_precision():
            painted = network(inputs)
        errors = (torch.tanh(painted.float()) - wanted).abs()
        mouths = torch.stack([errors[row][_inside(e)].mean() for row, e in enumerate(examples)])
        return errors.mean() + MOUTH_WEIGHT * mouths.mean()

    optimise(network, steps, draw_loss, "image translation")
    return network.to(memory_format=torch.contiguous_format)


def measure_image(network: ResidualUNet, people: list[Person]) -> dict[str, dict[str, float]]:
    """Measure L1 (of 255) and PSNR (dB) on held-out people, over the whole square and the mouth rectangle.

    Rows: painted; painted from the drawing of another moment; and the unchanged still.
    """
    sums: dict[str, list[list[float]]] = {}
    for person in people:
        crop, count = CropTransform(0, 0, person.size, RESIDUAL_UNET_FACE_SIZE), len(person.codes)
        rows = np.linspace(count // 4, count - 1, MEASURED_FRAMES).round().astype(int).tolist()
        examples = [make_example(person, 0, row, crop) for row in rows]
        wanted = to_tensor([e.target for e in examples])
        stills = to_tensor([e.still for e in examples])
        drawings = to_tensor([e.drawing for e in examples])
        with torch.inference_mode():
            painted = {
                name: torch.tanh(network(torch.cat([drawn, stills], dim=1))).clamp(min=0)
                for name, drawn in (
                    ("painted", drawings),
                    ("painted from another moment's drawing (cheat)", drawings.roll(MEASURED_FRAMES // 2, dims=0)),
                )
            }
        for name, values in (painted | {"still as it is (cheat)": stills}).items():
            errors = (values - wanted) * 255
            for row, example in enumerate(examples):
                parts = (errors[row], errors[row][_inside(example)])
                sums.setdefault(name, []).append([f(part) for part in parts for f in (_l1, _mse)])
    return {
        name: {
            "L1": float(np.mean(values, axis=0)[0]),
            "PSNR, dB": to_psnr(float(np.mean(values, axis=0)[1])),
            "mouth: L1": float(np.mean(values, axis=0)[2]),
            "mouth: PSNR, dB": to_psnr(float(np.mean(values, axis=0)[3])),
        }
        for name, values in sums.items()
    }


def to_tensor(images: list[np.ndarray]) -> Tensor:
    """Stack images as a tensor (B, 3, 256, 256) in [0, 1]."""
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255)


def _inside(example: Example) -> tuple[slice, ...]:
    left, top, right, bottom = example.mouth
    return np.s_[:, top : max(bottom, top + 1), left : max(right, left + 1)]


def _mirror(example: Example) -> Example:
    left, top, right, bottom = example.mouth
    turned = (np.ascontiguousarray(image[:, ::-1]) for image in example[:3])
    return Example(*turned, (RESIDUAL_UNET_FACE_SIZE - right, top, RESIDUAL_UNET_FACE_SIZE - left, bottom))


def _l1(errors: Tensor) -> float:
    return float(errors.abs().mean())


def _mse(errors: Tensor) -> float:
    return float(errors.square().mean())
