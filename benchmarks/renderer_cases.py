"""Cases of the renderer benchmark: a clip with coefficients, its training pairs, and measures of painted frames."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.reconstruction import SECONDS, Clip, open_clip
from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.evaluation import cheats
from metatalk_lib.evaluation.image_measures import measure_frame
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.face3d.feathering import feather_mask
from metatalk_lib.media.video import probe_video
from metatalk_lib.metrics import image_quality, seams
from metatalk_lib.neural_renderer.compositing import FEATHER_PER_SIDE, blend
from metatalk_lib.neural_renderer.generator import NeuralRenderer, RendererSettings, starting_weights
from metatalk_lib.neural_renderer.inspection import mouth_rectangle
from metatalk_lib.neural_renderer.lower_face_region import find_roi
from metatalk_lib.neural_renderer.reference_bank import ReferenceBank
from metatalk_lib.neural_renderer.reference_pairs import add_references, make_bank
from metatalk_lib.neural_renderer.sampling import TrainingSettings
from metatalk_lib.neural_renderer.training import train_renderer
from metatalk_lib.neural_renderer.training_pairs import RendererPairs, render_pairs
from metatalk_lib.reconstruction.appearance import fit_appearance
from metatalk_lib.studio.ground_truth import true_coefficients
from metatalk_lib.studio.render_video import ensure_studio_video

HELD_OUT_S = 2.0
HARD_SEAM, OTHER_TONE, FLICKER = "hard seam", "other tone, feathered", "flickering paint"
SHADE = 16
"""Brightness added by the cheats for seam, tone and flicker, of 255."""
CONFIG = RendererConfig()
"""Everything is trained with the defaults of notebook 05."""


@dataclass(frozen=True)
class Case:
    """A clip prepared for training and painting.

    Attributes:
        name: name of the clip in the table.
        clip: the video with its crop.
        model: the face model.
        coefficients: coefficients of every frame.
        pairs: training pairs of all but the last two seconds, with references.
        held_out: pairs of the last two seconds, with references from the earlier part.
        bank: bank of reference frames.
        settings: settings of the network.
        seconds: time that drawing took, s.
    """

    name: str
    clip: Clip
    model: FaceModel
    coefficients: Coefficients
    pairs: RendererPairs
    held_out: RendererPairs
    bank: ReferenceBank
    settings: RendererSettings
    seconds: float

    @property
    def held_out_start(self) -> int:
        """First frame that is not trained on."""
        return len(self.pairs)

    @property
    def landmarks(self) -> np.ndarray:
        """Landmarks of the held-out frames, px of the rectangle."""
        corner = np.array([self.settings.roi.left, self.settings.roi.top], np.float32)
        return self.clip.landmarks[self.held_out_start :] - corner

    def draw_held_out(self, coefficients: Coefficients, folder: Path) -> RendererPairs:
        """The held-out frames with other coefficients, such as those of driven lips."""
        frames = list(enumerate(self.clip.reader(self.held_out_start)(0, len(self.held_out)), self.held_out_start))
        pairs = render_pairs(self.model, coefficients, frames, len(frames), self.settings.roi, folder)
        return add_references(self.model, coefficients, pairs, self.bank, self.settings.references, folder)


@dataclass(frozen=True)
class Quality:
    """Means over the held-out frames.

    Attributes:
        ssim_mask, ssim_crop: Gaussian SSIM inside the mask and of the whole crop.
        mouth_psnr: PSNR of the squared error over all frames' mouth rectangles, dB.
        mouth_energy: gradient energy of the mouth rectangles, ratio to the real frames'.
        mouth_sharpness: mean gradient magnitude of the mouth rectangles, ratio to the real frames'.
        seam: gradient across the mask's edge, ratio to the real frames'.
        rim: difference of the tone along the mask's edge, grey levels.
        flicker: energy of frame differences inside the mask and outside the mouth rectangle, ratio to the real frames'.
    """

    ssim_mask: float
    ssim_crop: float
    mouth_psnr: float
    mouth_energy: float
    mouth_sharpness: float
    seam: float
    rim: float
    flicker: float


def open_studio(name: str, model: FaceModel, folder: Path) -> Case:
    """A character's ten seconds with true identity, expressions and poses; texture and light are fitted."""
    path = ensure_studio_video(name, SECONDS)
    clip = open_clip(path)
    exact = true_coefficients(model, load_arrays(path.parent / "truth.npz"), clip.crop)
    frames = clip.reader()(0, len(exact))
    return make_case(name, clip, model, fit_appearance(model, exact, frames, exact.frame_id), folder)


def open_real(path: Path, model: FaceModel, folder: Path) -> Case:
    """A real person's clip with the coefficients of stage 03."""
    clip = open_clip(path, "largest")
    return make_case(path.stem, clip, model, clip.fit(model), folder)


def make_case(name: str, clip: Clip, model: FaceModel, coefficients: Coefficients, folder: Path) -> Case:
    """Draw the pairs as notebook 05 does."""
    size, started = clip.crop.size, time.perf_counter()
    roi = find_roi(model, coefficients, size, multiple=2**CONFIG.renderer_depth)
    settings = RendererSettings.from_config(CONFIG, size, roi)
    count = len(coefficients)
    start = count - round(HELD_OUT_S * probe_video(clip.path).fps)
    parts = []
    for first, last, part in ((0, start, "training"), (start, count, "held_out")):
        frames = enumerate(clip.reader(first)(0, last - first), first)
        parts.append(render_pairs(model, coefficients, frames, last - first, roi, folder / name / part))
    bank = make_bank(model, coefficients, parts[0], CONFIG.renderer_bank)
    pairs, held_out = (
        add_references(model, coefficients, each, bank, settings.references, folder / name / part)
        for each, part in zip(parts, ("training", "held_out"), strict=True)
    )
    seconds = time.perf_counter() - started
    return Case(name, clip, model, coefficients, pairs, held_out, bank, settings, seconds)


def train(
    case: Case,
    *,
    uses_prior: bool = True,
    steps: int = CONFIG.renderer_steps,
    watch: Callable[[int, NeuralRenderer], None] | None = None,
) -> tuple[NeuralRenderer, float]:
    """A renderer with the defaults' losses, and the seconds that its training took."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        renderer, _ = train_renderer(
            case.pairs,
            case.settings,
            replace(TrainingSettings.from_config(CONFIG), steps=steps),
            checkpoint=Path(folder) / "checkpoint.safetensors",
            start=starting_weights(case.settings, use_prior=uses_prior),
            watch=watch,
        )
    return renderer.with_bank(case.bank), time.perf_counter() - started


def measure(case: Case, painted: np.ndarray) -> Quality:
    """Compare painted rectangles with the real frames."""
    pairs, roi = case.held_out, case.settings.roi
    crops = case.clip.reader(case.held_out_start)(0, len(pairs))
    frames, borders, rims, mouths, changes = [], [], [], [], []
    feather = round(case.settings.size * FEATHER_PER_SIDE)
    for row, (crop, image) in enumerate(zip(crops, painted, strict=True)):
        real, mask = np.asarray(pairs.targets[row]), np.asarray(pairs.masks[row])
        whole, whole_mask = crop.copy(), np.zeros(crop.shape[:2], bool)
        roi.cut(whole)[:], roi.cut(whole_mask)[:] = image, mask
        frames.append(measure_frame(whole, crop, whole_mask, whole_mask)[:2])
        ring = seams.border_ring(whole_mask)
        borders.append([image_quality.sharpness(shown, mask=ring) for shown in (whole, crop)])
        rims.append(seams.rim_contrast(whole, crop, whole_mask, width_px=feather))
        mouth = mouth_rectangle(case.landmarks[row], mask.shape)
        detail = [
            of(shown[mouth])
            for of in (image_quality.gradient_energy, image_quality.sharpness)
            for shown in (image, real)
        ]
        mouths.append([np.mean((image[mouth].astype(float) - real[mouth]) ** 2), *detail])
        outside = mask.copy()
        outside[mouth] = False
        if row:
            pair = ((image, painted[row - 1]), (real, np.asarray(pairs.targets[row - 1])))
            changes.append([image_quality.flicker_energy(now, before, outside) for now, before in pair])
    ssim_mask, ssim_crop = np.mean(frames, axis=0)
    border, mouth, change = (np.mean(values, axis=0) for values in (borders, mouths, changes))
    return Quality(
        float(ssim_mask),
        float(ssim_crop),
        image_quality.to_psnr(float(mouth[0])),
        float(mouth[1] / mouth[2]),
        float(mouth[3] / mouth[4]),
        float(border[0] / border[1]),
        float(np.mean(rims)),
        float(change[0] / change[1]),
    )


def mouth_psnr(case: Case, painted: np.ndarray) -> float:
    """PSNR of the mouth rectangles of all held-out frames, dB: `Quality.mouth_psnr` alone, for many measurements."""
    errors = []
    for landmarks, image, real in zip(case.landmarks, painted, case.held_out.targets, strict=True):
        mouth = mouth_rectangle(landmarks, image.shape[:2])
        errors.append(np.mean((image[mouth].astype(float) - real[mouth]) ** 2))
    return image_quality.to_psnr(float(np.mean(errors)))


def make_cheats(case: Case, painted: np.ndarray) -> dict[str, np.ndarray]:
    """Rectangles of the held-out frames that must fail, and `cheats.PASS_THROUGH`, which is the real one."""
    pairs, roi, size = case.held_out, case.settings.roi, case.settings.size
    crops = list(case.clip.reader(case.held_out_start)(0, len(pairs)))
    made = {}
    for name in cheats.CHEATS:
        images = []
        for row, crop in enumerate(crops):
            whole = np.zeros((size, size), bool)
            roi.cut(whole)[:] = pairs.masks[row]
            images.append(roi.cut(cheats.make_cheat(name, crop, whole, crops[0])))
        made[name] = np.stack(images)
    return made | {
        HARD_SEAM: sew_hard(case, painted),
        OTHER_TONE: brighten(case, painted, range(len(painted))),
        FLICKER: brighten(case, painted, range(1, len(painted), 2)),
    }


def sew_hard(case: Case, painted: np.ndarray) -> np.ndarray:
    """Paste a patch without feathering and too bright, which the measure of the seam must detect."""
    masks = np.asarray(case.held_out.masks)[..., None]
    return np.where(masks, shade(painted), case.held_out.targets)


def shade(images: np.ndarray) -> np.ndarray:
    """Make pictures too bright."""
    return np.clip(images.astype(np.int16) + SHADE, 0, 255).astype(np.uint8)


def brighten(case: Case, painted: np.ndarray, rows: range) -> np.ndarray:
    """Brighten some painted frames, well feathered, which the measures of tone and flicker must detect."""
    made = painted.copy()
    feather = case.settings.size * FEATHER_PER_SIDE
    for row in rows:
        made[row] = blend(made[row], shade(made[row]), feather_mask(np.asarray(case.held_out.masks[row]), feather))
    return made
