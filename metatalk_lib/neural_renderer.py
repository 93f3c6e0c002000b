"""The neural face renderer: a U-Net paints the photo-real lower face from synthetic ones; training, use, files.

    L(G, D) = L_rec + λ L_adv,  L_rec = ‖M (I − G(x))‖₁ / ‖M‖₁                                        (Eqs. 2 to 4)

x is the input of `renderer_data.assemble_input`, I the real image, M the lower-face mask. The discriminator D judges
the composite M G(x) + (1 − M) I beside I, so that it sees the seam and nothing it could not change.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from metatalk_lib.artifacts import load_json, save_json, save_weights
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.networks.initialization import initialize_normal
from metatalk_lib.networks.patch_gan import PatchGAN
from metatalk_lib.networks.unet import UNet
from metatalk_lib.renderer_data import RendererPairs, Roi, assemble_input, to_images, to_tensor

LOG_STEPS = 10
"""The history holds the mean of this many steps a row."""
LAST_RATE = 0.02
"""The learning rate falls along a cosine to this share of the first one."""
ADVERSARY_RATE = 2e-4
"""Learning rate of the discriminator at the start, pix2pix's."""
ADVERSARY_BETAS = (0.5, 0.999)


@dataclass(frozen=True)
class RendererSettings:
    """What the network is; stored beside the weights.

    Attributes:
        window: synthetic frames in the input, odd; AudioDVP's 7 is the paper's.
        width: channels of the U-Net's first level; 64 is the paper's.
        depth: halvings; both sides of the rectangle are multiples of 2^depth.
        refine: AudioDVP's refinement blocks, three times the work.
        size: side of the crop, px.
        roi: the rectangle of the crop that is painted.
        surroundings: whether the network also sees the real surroundings and the mask; AudioDVP's does not.
    """

    window: int
    width: int
    depth: int
    refine: bool
    size: int
    roi: Roi
    surroundings: bool = True

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise ParameterError(f"renderer_window must be odd, so that it has a centre; got {self.window}.")

    @property
    def in_channels(self) -> int:
        """Three a synthetic frame, and where they are seen three of the surroundings and one mask."""
        return 3 * self.window + (4 if self.surroundings else 0)

    def select_channels(self, full_input: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C2 H W"]:
        """The network's share of `renderer_data.assemble_input`, whose synthetic frames come first."""
        return full_input[:, : self.in_channels].contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class TrainingSettings:
    """How the network is trained.

    Attributes:
        steps: optimiser steps.
        batch: frames a step.
        learning_rate: of the generator at the start.
        gan_weight: λ of Eq. 4; 0 trains without the discriminator.
        gan_start: share of the steps after which the discriminator joins.
        gan_width: channels of its first layer.
        checkpoint_steps: distance of the checkpoints from which a killed run goes on.
        seed: of the weights and the sampling order.
    """

    steps: int
    batch: int
    learning_rate: float
    gan_weight: float
    gan_start: float
    gan_width: int
    checkpoint_steps: int
    seed: int

    def rate(self, step: int) -> float:
        """Factor of the learning rates: 1 falling to `LAST_RATE` along half a cosine."""
        return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + float(np.cos(np.pi * step / self.steps)))

    def uses_adversary(self, step: int) -> bool:
        """Whether Eq. 3 takes part in this step."""
        return self.gan_weight > 0 and step >= self.gan_start * self.steps


@dataclass(frozen=True)
class NeuralRenderer:
    """A trained generator with its settings."""

    network: UNet
    settings: RendererSettings

    def paint(
        self,
        windows: UInt8[np.ndarray, "B K H W 3"],
        known: Bool[np.ndarray, "B K"],
        images: UInt8[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
    ) -> UInt8[np.ndarray, "B H W 3"]:
        """Paint the rectangle; meaningful inside the mask. Arguments as in `assemble_input`.

        Raises:
            ParameterError: window or rectangle differ from what the network was trained for.
        """
        expected = (self.settings.window, self.settings.roi.height, self.settings.roi.width)
        if windows.shape[1:4] != expected:
            raise ParameterError(
                f"this renderer takes {expected[0]} frames of {expected[2]}×{expected[1]} px, got {windows.shape[1:4]}."
            )
        device = next(self.network.parameters()).device
        self.network.eval()
        with torch.inference_mode():
            full_input = assemble_input(windows, known, images, masks).to(device)
            return to_images(self.network(self.settings.select_channels(full_input)))


def build_generator(settings: RendererSettings, seed: int = 0) -> UNet:
    """The untrained U-Net in channels-last memory, which is the faster layout on CPUs."""
    network = UNet(settings.in_channels, 3, width=settings.width, depth=settings.depth, refine=settings.refine)
    return initialize_normal(network, seed=seed).to(memory_format=torch.channels_last)


class _Trainer:
    """Networks, optimisers and history of one training, and their way into a checkpoint and back."""

    def __init__(self, model: RendererSettings, training: TrainingSettings, device: torch.device) -> None:
        self.model, self.training, self.device, self.step = model, training, device, 0
        self.generator = build_generator(model, training.seed).to(device)
        adversary = PatchGAN(model.in_channels + 3, width=training.gan_width)
        adversary = initialize_normal(adversary, seed=training.seed + 1)
        self.adversary = adversary.to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), training.learning_rate)
        self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), ADVERSARY_RATE, betas=ADVERSARY_BETAS)
        self.history: list[list[float]] = []

    def advance(self, pairs: RendererPairs, rows: list[int]) -> None:
        """One step of Eq. 4; the discriminator is updated first, as in pix2pix."""
        training = self.training
        for optimizer, rate in (
            (self.optimizer, training.learning_rate),
            (self.adversary_optimizer, ADVERSARY_RATE),
        ):
            optimizer.param_groups[0]["lr"] = rate * training.rate(self.step)
        masks, images = np.ascontiguousarray(pairs.masks[rows]), np.ascontiguousarray(pairs.targets[rows])
        condition = assemble_input(*pairs.windows(rows, self.model.window), images, masks).to(self.device)
        condition = self.model.select_channels(condition)
        real, inside = to_tensor(images).to(self.device), torch.from_numpy(masks)[:, None].float().to(self.device)
        composite = self.generator(condition) * inside + real * (1 - inside)
        reconstruction = masked_l1(composite, real, inside)
        loss, losses = reconstruction, [0.0, 0.0]
        if training.uses_adversary(self.step):
            losses[1] = self._advance_adversary(condition, real, composite.detach())
            self.adversary.requires_grad_(False)
            fooled = _verdict_loss(self.adversary, condition, composite, is_real=True)
            loss, losses[0] = loss + training.gan_weight * fooled, float(fooled.detach())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.adversary.requires_grad_(True)
        self.step += 1
        self.history.append([float(reconstruction.detach()), *losses])

    def _advance_adversary(self, condition: Tensor, real: Tensor, fake: Tensor) -> float:
        loss = 0.5 * (
            _verdict_loss(self.adversary, condition, fake, is_real=False)
            + _verdict_loss(self.adversary, condition, real, is_real=True)
        )
        self.adversary_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.adversary_optimizer.step()
        return float(loss.detach())

    def save(self, path: Path, fingerprint: str) -> None:
        tensors = {}
        for name, network in (("generator", self.generator), ("adversary", self.adversary)):
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for name, optimizer in (("optimizer", self.optimizer), ("adversary_optimizer", self.adversary_optimizer)):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
        state = {"step": self.step, "history": self.history, "fingerprint": fingerprint}
        save_weights(path, tensors, {"state": json.dumps(state)})

    def load(self, path: Path, fingerprint: str) -> bool:
        """Take up a checkpoint; False where there is none, or one of another training."""
        if not path.exists():
            return False
        try:
            with safe_open(path, "pt") as file:
                state = json.loads(file.metadata()["state"])
            tensors = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise DataError(f"the checkpoint {path} cannot be read ({error}). Delete it and train again.") from error
        if state["fingerprint"] != fingerprint:
            return False
        self.step, self.history = state["step"], state["history"]
        self.generator.load_state_dict(_part(tensors, "generator"))
        self.adversary.load_state_dict(_part(tensors, "adversary"))
        _restore_optimizer(self.optimizer, _part(tensors, "optimizer"))
        _restore_optimizer(self.adversary_optimizer, _part(tensors, "adversary_optimizer"))
        return True


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put Adam's moments back in their parameters' memory layout: another layout may round differently."""
    parameters = optimizer.param_groups[0]["params"]
    for key, value in tensors.items():
        index, name = key.split(".")
        parameter = parameters[int(index)]
        moment = value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][name] = moment


def _verdict_loss(adversary: nn.Module, condition: Tensor, image: Tensor, *, is_real: bool) -> Tensor:
    verdict = adversary(torch.cat([condition, image], dim=1))
    return binary_cross_entropy_with_logits(verdict, torch.full_like(verdict, float(is_real)))


def masked_l1(
    image: Float[Tensor, "B 3 H W"], reference: Float[Tensor, "B 3 H W"], mask: Float[Tensor, "B 1 H W"]
) -> Float[Tensor, ""]:
    """Mean absolute difference inside the mask (Eq. 2), in the units of the images; lower is better, ideal 0."""
    return ((image - reference).abs() * mask).sum() / (3 * mask.sum()).clamp_min(1)


def sample_rows(candidates: np.ndarray, step: int, training: TrainingSettings) -> list[int]:
    """The rows of one step: shuffled passes over all candidates, a function of seed and step alone."""
    first = step * training.batch
    rows = []
    for position in range(first, first + training.batch):
        epoch, place = divmod(position, len(candidates))
        order = np.random.default_rng([training.seed, epoch]).permutation(len(candidates))
        rows.append(int(candidates[order[place]]))
    return rows


def train_renderer(
    pairs: RendererPairs,
    model: RendererSettings,
    training: TrainingSettings,
    *,
    checkpoint: Path,
    device: torch.device | None = None,
    steps: Iterable[int] | None = None,
) -> tuple[NeuralRenderer, dict[str, list[int] | list[float]]]:
    """Train generator and discriminator on pairs; a killed training goes on from its last checkpoint.

    Equal pairs, settings and thread count give equal weights, interrupted or not.

    Args:
        pairs: training frames only; rows that are not `valid` serve as neighbours, never as targets.
        model: what to train.
        training: how.
        checkpoint: file to resume from and to keep up to date; one of another training is ignored and overwritten.
        device: where; CPU by default.
        steps: an iterable over `range(training.steps)` that shows progress; a resumed run passes over what is done.

    Returns:
        The renderer, and its losses: `step`, `reconstruction`, `adversarial`, `discriminator`, means of 25 steps.

    Raises:
        ParameterError: the pairs and the settings disagree, or no row is valid.
        DataError: the checkpoint is unreadable, or training diverged.

    Source: paper section 2.4, Eqs. 2 to 4; order of updates and BCE with logits are pix2pix's and AudioDVP's.
    """
    candidates = np.flatnonzero(pairs.valid)
    if pairs.roi != model.roi or pairs.size != model.size or not len(candidates):
        raise ParameterError(
            f"train_renderer got {len(candidates)} valid frames of {tuple(pairs.roi)} in a {pairs.size} px crop; the "
            f"settings say {tuple(model.roi)} in {model.size} px. Make both from the same crop."
        )
    trainer = _Trainer(model, training, device or torch.device("cpu"))
    fingerprint = compute_fingerprint(pairs, model, training)
    trainer.load(checkpoint, fingerprint)
    trainer.generator.train()
    for step in range(training.steps) if steps is None else steps:
        if step < trainer.step:
            continue
        with torch.random.fork_rng(devices=[]):
            # dropout draws from the global generator; a seed of its own for each step makes resuming exact
            torch.manual_seed(training.seed * 1_000_003 + step)
            trainer.advance(pairs, sample_rows(candidates, step, training))
        if not np.isfinite(trainer.history[-1]).all():
            raise DataError(
                f"training diverged at step {step} (loss {trainer.history[-1]}). Lower renderer_learning_rate."
            )
        if trainer.step % training.checkpoint_steps == 0 or trainer.step == training.steps:
            trainer.save(checkpoint, fingerprint)
    return NeuralRenderer(trainer.generator.eval(), model), summarise_history(trainer.history)


def summarise_history(rows: list[list[float]]) -> dict[str, list[int] | list[float]]:
    """Means of `LOG_STEPS` steps; the last group may be shorter."""
    groups = [rows[start : start + LOG_STEPS] for start in range(0, len(rows), LOG_STEPS)]
    means = np.array([np.mean(group, axis=0) for group in groups]).reshape(-1, 3)
    ends = np.minimum(LOG_STEPS * np.arange(1, len(groups) + 1), len(rows))
    names = ("reconstruction", "adversarial", "discriminator")
    return {"step": ends.tolist()} | {name: means[:, column].tolist() for column, name in enumerate(names)}


def compute_fingerprint(pairs: RendererPairs, model: RendererSettings, training: TrainingSettings) -> str:
    """Digest of everything that decides a training's outcome on one machine."""
    settings = [
        asdict(model),
        asdict(training) | {"checkpoint_steps": None},
        torch.get_num_threads(),
        torch.__version__,
    ]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for array in (pairs.frame_id, pairs.valid):
        digest.update(np.ascontiguousarray(array).tobytes())
    for rows in (pairs.renders, pairs.masks, pairs.targets):
        for row in rows:
            digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()


def save_renderer(renderer: NeuralRenderer, folder: Path, history: dict[str, list[int] | list[float]]) -> None:
    """Write `generator.safetensors`, `renderer.json` and `history.json`; equal renderers give equal bytes."""
    save_weights(folder / "generator.safetensors", renderer.network.state_dict())
    save_json(folder / "renderer.json", asdict(renderer.settings))
    save_json(folder / "history.json", history)


def load_renderer(folder: Path, device: torch.device | None = None) -> NeuralRenderer:
    """Read what `save_renderer` wrote.

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
    return NeuralRenderer(network.to(device or torch.device("cpu")).eval(), settings)
