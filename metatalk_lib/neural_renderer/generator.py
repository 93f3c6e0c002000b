"""The neural face renderer, which turns synthetic lower faces into photo-realistic ones: inference and files.

Training is in `renderer_training`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.checkpoints import load_weights, save_weights
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.networks.initialization import initialize_kaiming, initialize_normal
from metatalk_lib.networks.reference_unet import DEEPEST, ReferenceUNet
from metatalk_lib.networks.unet import UNet
from metatalk_lib.neural_renderer.colour_match import RING_PER_SIDE, match_colours
from metatalk_lib.neural_renderer.conditioning import Condition, GeneratorInput, assemble_input, to_images
from metatalk_lib.neural_renderer.lower_face_region import Roi, enclosing_roi
from metatalk_lib.neural_renderer.reference_bank import BANK_FILES, ReferenceBank

PRIOR_PATH = PACKAGE_DATA_DIR / "generator_prior.safetensors"


@dataclass(frozen=True)
class RendererSettings:
    """Architecture and inference settings of the neural renderer; stored beside the weights.

    Attributes:
        window: number of consecutive synthetic frames in the input, odd; the paper uses AudioDVP's 7.
        width: channels of the U-Net's first level; the paper uses 64.
        depth: number of downsamplings by 2; both sides of the rectangle are multiples of 2^depth.
        refine: whether to use AudioDVP's refinement blocks, at three times the cost; only without references.
        size: side of the crop, px.
        roi: rectangle of the crop that the network paints.
        surroundings: whether the input includes the real surroundings and the mask; AudioDVP's does not.
        references: number of warped real frames in the input (`ReferenceUNet`); 0 is a plain U-Net, as in the paper.
        fits_surroundings: whether the references are aligned with the pixels around the mask (`surroundings`).
        matches_colours: whether the painted colours are matched to those around the mask (`renderer_colour_match`).
    """

    window: int
    width: int
    depth: int
    refine: bool
    size: int
    roi: Roi
    surroundings: bool = True
    references: int = 0
    fits_surroundings: bool = True
    matches_colours: bool = False

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ParameterError(f"renderer_window must be odd, so that it has a centre; got {self.window}.")
        if self.references and (self.refine or not self.surroundings):
            raise ParameterError(
                "renderer_refine: a renderer with references has no refinement blocks and sees the surroundings. Set "
                "it to false, or renderer_references to 0."
            )
        if self.references and self.depth > DEEPEST:
            raise ParameterError(
                f"renderer_depth is {self.depth}; with references it is at most {DEEPEST}. Choose a smaller one, or "
                "set renderer_references to 0."
            )

    @classmethod
    def from_config(cls, config: RendererConfig, size: int, roi: Roi) -> "RendererSettings":
        """Build the settings from the parameters of notebook 05, for a crop of `size` px."""
        return cls(
            config.renderer_window,
            config.renderer_width,
            config.renderer_depth,
            config.renderer_refine,
            size,
            roi,
            references=config.renderer_references,
            # a network without references is not trained outside the mask, so its colours there mean nothing
            fits_surroundings=config.renderer_background_flow,
            matches_colours=config.renderer_colour_match and config.renderer_references > 0,
        )

    @property
    def in_channels(self) -> int:
        """Input channels: 3 for each synthetic frame and reference; with surroundings 3 more, and 1 for the mask."""
        return 3 * (self.window + self.references) + (4 if self.surroundings else 0)

    def select_channels(self, full_input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H W"]:
        """Select the channels that the network takes from the output of `conditioning.assemble_input`."""
        return full_input[:, : self.in_channels].contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class NeuralRenderer:
    """A trained generator with its settings and, if it uses references, the bank of reference frames."""

    network: nn.Module
    settings: RendererSettings
    bank: ReferenceBank | None = None

    def with_bank(self, bank: ReferenceBank) -> "NeuralRenderer":
        """Return the same renderer with a reference bank, if it uses references."""
        return replace(self, bank=bank if self.settings.references else None)

    def paint(self, condition: Condition) -> UInt8[np.ndarray, "B H W 3"]:
        """Paint the rectangle of a batch of frames; only pixels inside the mask are meaningful.

        Raises:
            ParameterError: window, references or rectangle differ from those that the network was trained with.
        """
        settings = self.settings
        found = (condition.windows.shape[1], condition.references.shape[1], *condition.masks.shape[1:])
        expected = (settings.window, settings.references, settings.roi.height, settings.roi.width)
        if found != expected:
            raise ParameterError(
                f"this renderer takes {expected[0]} synthetic frames and {expected[1]} references of "
                f"{expected[3]}×{expected[2]} px, got {found}."
            )
        device = next(self.network.parameters()).device
        self.network.eval()
        # half precision pays off on accelerators alone
        with torch.inference_mode(), torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            paint = to_images(run_generator(self.network, settings, assemble_input(condition, device)).float())
        if not settings.matches_colours:
            return paint
        ring_px = max(1, round(settings.size * RING_PER_SIDE))
        parts = zip(paint, condition.images, condition.masks, strict=True)
        return np.stack([match_colours(image, real, mask, ring_px) for image, real, mask in parts])


def build_generator(settings: RendererSettings, seed: int = 0) -> nn.Module:
    """Build the untrained network in channels-last memory, the faster layout on CPUs."""
    network: ReferenceUNet | UNet
    if settings.references:
        network = ReferenceUNet(settings.in_channels, settings.references, width=settings.width, depth=settings.depth)
        initialize_kaiming(network, seed=seed)
        network.reset_exit()
    else:
        network = UNet(settings.in_channels, 3, width=settings.width, depth=settings.depth, refine=settings.refine)
        initialize_normal(network, seed=seed)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent from torch's types


def run_generator(network: nn.Module, settings: RendererSettings, given: GeneratorInput) -> Float[Tensor, "B 3 H W"]:
    """Compute the painted rectangle, about [-1, 1]; `network` may be wrapped for several devices."""
    images = settings.select_channels(given.images)
    return network(images, given.references) if settings.references else network(images)


def reduce_renderer(renderer: NeuralRenderer, model: FaceModel, reduction: int) -> NeuralRenderer:
    """Adapt a renderer to a crop reduced by an integer factor, for previews.

    Args:
        renderer: renderer for the full crop.
        model: the face model.
        reduction: integer factor; 2 halves the sides of the crop and the rectangle.

    Raises:
        ParameterError: the side of the reduced crop would not fit the depth of the network.
    """
    settings, step = renderer.settings, 2**renderer.settings.depth
    if settings.size % (reduction * step):
        raise ParameterError(
            f"a preview is {reduction} times smaller than the crop of {settings.size} px, which this network, of depth "
            f"{settings.depth}, cannot paint. Leave out --preview."
        )
    size = settings.size // reduction
    bounds = np.array([settings.roi.left, settings.roi.top, settings.roi.right - 1, settings.roi.bottom - 1])
    low, high = bounds[:2] // reduction, bounds[2:] // reduction + 1
    roi = enclosing_roi(np.concatenate([low, high]), size, multiple=step)
    reduced = replace(settings, size=size, roi=roi)
    if renderer.bank is None:
        return NeuralRenderer(renderer.network, reduced)
    images = np.stack([_reduce_rectangle(image, settings, reduced) for image in renderer.bank.images])
    return NeuralRenderer(
        renderer.network, reduced, ReferenceBank.build(model, renderer.bank.coefficients, images, size)
    )


def _reduce_rectangle(
    image: UInt8[np.ndarray, "H W 3"], settings: RendererSettings, reduced: RendererSettings
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """Resample the full crop's rectangle to the reduced crop's rectangle, replicating edge pixels beyond it."""
    roi, size = settings.roi, settings.size
    around = ((roi.top, size - roi.bottom), (roi.left, size - roi.right), (0, 0))
    whole = cv2.resize(np.pad(image, around, mode="edge"), (reduced.size,) * 2, interpolation=cv2.INTER_AREA)
    return reduced.roi.cut(whole)


def starting_weights(settings: RendererSettings, *, use_prior: bool) -> Mapping[str, Tensor] | None:
    """Load the initial weights of a training: the generator prior, or None for random weights.

    The prior was trained on many studio people; its card is `data/generator_prior.md`.

    Raises:
        ParameterError: the shapes of the prior's weights do not match the settings.
    """
    if not use_prior:
        return None
    weights = load_weights(PRIOR_PATH, "It is part of the package: install it again.")
    expected = {name: value.shape for name, value in build_generator(settings).state_dict().items()}
    if {name: value.shape for name, value in weights.items()} != expected:
        raise ParameterError(
            f"the generator prior does not fit a network of width {settings.width}, depth {settings.depth}, window "
            f"{settings.window} and {settings.references} references. Leave these parameters as they are, or set "
            "renderer_prior to false."
        )
    return {name: value.float() for name, value in weights.items()}


def save_renderer(renderer: NeuralRenderer, folder: Path, history: dict[str, list[int] | list[float]]) -> None:
    """Write `generator.safetensors`, `renderer.json`, the bank and `history.json`; equal values give equal bytes."""
    save_weights(folder / "generator.safetensors", renderer.network.state_dict())
    save_json(folder / "renderer.json", asdict(renderer.settings))
    save_json(folder / "history.json", history)
    if renderer.bank is not None:
        renderer.bank.save(folder)
        return
    for name in BANK_FILES:
        (folder / name).unlink(missing_ok=True)


def load_renderer(folder: Path, model: FaceModel, device: torch.device | None = None) -> NeuralRenderer:
    """Read the files of `save_renderer`; the bank's images stay on disk.

    Raises:
        DataError: a file is missing or unreadable, or the weights do not fit the settings.
    """
    values = load_json(folder / "renderer.json")
    path = folder / "generator.safetensors"
    if not path.exists():
        raise DataError(f"{path} does not exist. Run 05_neural_renderer.")
    try:
        settings = RendererSettings(**(values | {"roi": Roi(*values["roi"])}))
        network = build_generator(settings)
        network.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder} holds no usable renderer ({reason}). Run 05_neural_renderer again.") from error
    bank = ReferenceBank.load(folder, model, settings.size) if settings.references else None
    if bank is not None and bank.images.shape[1:3] != (settings.roi.height, settings.roi.width):
        raise DataError(f"{folder} holds frames of another rectangle. Run 05_neural_renderer again.")
    return NeuralRenderer(network.to(device or torch.device("cpu")).eval(), settings, bank)
