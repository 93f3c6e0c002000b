"""Training of the neural face renderer, on one person or many: steps, checkpoints, resuming.

    L(G, D) = L_rec + λ L_adv,  L_rec = ‖M (I − G(x))‖₁ / ‖M‖₁                                        (Eqs. 2 to 4)

x is the output of `conditioning.assemble_input`, I the real image, M the lower-face mask. All losses are computed on
the composite M G(x) + (1 − M) I, so they include the seam but nothing that the network cannot change. Losses beyond the
paper's two terms have their own weights in `TrainingSettings`.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.child_process import run_in_process
from metatalk_lib.core.code_fingerprint import fingerprint_modules
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.parallel import read_ahead
from metatalk_lib.networks.initialization import initialize_normal
from metatalk_lib.networks.patch_gan import MultiScalePatchGAN
from metatalk_lib.neural_renderer.conditioning import Condition, assemble_input, to_tensor
from metatalk_lib.neural_renderer.generator import NeuralRenderer, RendererSettings, build_generator, run_generator
from metatalk_lib.neural_renderer.losses import (
    detail_loss,
    edge_loss,
    feature_loss,
    masked_l1,
    motion_loss,
    verdict_loss,
)
from metatalk_lib.neural_renderer.sampling import Batches, TrainingSettings
from metatalk_lib.neural_renderer.training_pairs import RendererPairs

LOG_STEPS = 10
"""Steps averaged in one row of the history."""
ADVERSARY_RATE = 2e-4
"""Initial learning rate of the discriminator, that of pix2pix."""
ADVERSARY_BETAS = (0.5, 0.999)
GRADIENT_LIMIT = 1.0
"""Gradient clipping norm of the generator: a single unusual batch must not undo the training."""
CHECKPOINT_S = 30.0
"""Longest time between checkpoints, s; a killed training loses less than a minute."""
LOSSES = ("reconstruction", "adversarial", "discriminator")


class _Trainer:
    """Networks, optimisers and history of one training, with saving and loading of checkpoints."""

    def __init__(
        self, fabric: Fabric, model: RendererSettings, training: TrainingSettings, start: Mapping[str, Tensor] | None
    ) -> None:
        self.fabric, self.model, self.training, self.step = fabric, model, training, 0
        self.generator = build_generator(model, training.seed)
        self.is_begun = start is not None
        if start is not None:
            self.generator.load_state_dict(start)
        adversary = MultiScalePatchGAN(model.in_channels + 3, width=training.gan_width, scales=training.gan_scales)
        initialize_normal(adversary, seed=training.seed + 1)
        # torch's types lack this argument
        self.adversary = adversary.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.generator.parameters(), training.learning_rate)
        self.adversary_optimizer = torch.optim.Adam(self.adversary.parameters(), ADVERSARY_RATE, betas=ADVERSARY_BETAS)
        self.history: list[list[float]] = []
        self.seconds: list[float] = []  # from the start to the end of each step, without work lost to a kill

    def set_up(self) -> None:
        """Move networks and optimisers to their device or devices."""
        self.run, self.stepper = self.fabric.setup(self.generator, self.optimizer)
        self.judge, self.judge_stepper = self.fabric.setup(self.adversary, self.adversary_optimizer)

    def advance(self, condition: Condition) -> None:
        """Do one training step of Eq. 4; the discriminator is updated first, as in pix2pix."""
        training = self.training
        self.run.train()  # `watch` may have painted, which switches to evaluation mode
        self.optimizer.param_groups[0]["lr"] = training.learning_rate * training.rate(self.step, is_begun=self.is_begun)
        self.adversary_optimizer.param_groups[0]["lr"] = ADVERSARY_RATE * training.rate(self.step)
        device = self.fabric.device
        given = assemble_input(condition, device)
        real = to_tensor(condition.images, device)
        inside = torch.from_numpy(condition.masks).to(device)[:, None].float()
        composite = run_generator(self.run, self.model, given).float() * inside + real * (1 - inside)
        reconstruction = masked_l1(composite, real, inside)
        loss, losses = reconstruction, [0.0, 0.0]
        if training.edge_weight:
            loss = loss + training.edge_weight * edge_loss(composite, real)
        if training.detail_weight:
            loss = loss + training.detail_weight * detail_loss(composite, real)
        if training.motion_weight:
            loss = loss + training.motion_weight * motion_loss(
                composite.unflatten(0, (-1, 2)), real.unflatten(0, (-1, 2))
            )
        if training.uses_adversary(self.step):
            seen = self.model.select_channels(given.images)
            losses[1] = self._advance_adversary(seen, real, composite.detach())
            adversarial, losses[0] = self._adversarial_loss(seen, real, composite)
            loss = loss + training.gan_weight * adversarial
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        norm = self.fabric.clip_gradients(self.run, self.stepper, max_norm=GRADIENT_LIMIT, error_if_nonfinite=False)
        if norm is not None and not torch.isfinite(norm):
            raise DataError(
                f"training diverged at step {self.step} (L1 loss {float(reconstruction.detach()):.4g}, its gradient is "
                "not finite). Lower renderer_learning_rate."
            )
        self.stepper.step()
        self.adversary.requires_grad_(True)
        self.step += 1
        self.history.append([float(reconstruction.detach()), *losses])

    def _advance_adversary(self, seen: Tensor, real: Tensor, fake: Tensor) -> float:
        verdicts = [
            (self.judge(torch.cat([seen, image], dim=1)), is_real) for image, is_real in ((fake, False), (real, True))
        ]
        fake_loss, real_loss = (verdict_loss(features, is_real=is_real) for features, is_real in verdicts)
        loss = 0.5 * (fake_loss + real_loss)
        self.adversary_optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.judge_stepper.step()
        return float(loss.detach())

    def _adversarial_loss(self, seen: Tensor, real: Tensor, composite: Tensor) -> tuple[Tensor, float]:
        self.adversary.requires_grad_(False)
        features = self.judge(torch.cat([seen, composite], dim=1))
        fooled = verdict_loss(features, is_real=True)
        value = float(fooled.detach())
        if self.training.feature_weight:
            with torch.no_grad():
                wanted = self.judge(torch.cat([seen, real], dim=1))
            fooled = fooled + self.training.feature_weight * feature_loss(features, wanted)
        return fooled, value

    def save(self, path: Path, fingerprint: str) -> None:
        """Write a checkpoint with everything that the next step depends on."""
        tensors: dict[str, Tensor] = {}
        for name, network in (("generator", self.generator), ("adversary", self.adversary)):
            tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
        for name, optimizer in (("optimizer", self.optimizer), ("adversary_optimizer", self.adversary_optimizer)):
            for index, state in optimizer.state_dict()["state"].items():
                tensors |= {f"{name}.{index}.{key}": value for key, value in state.items()}
        state = {"step": self.step, "history": self.history, "seconds": self.seconds, "fingerprint": fingerprint}
        save_weights(path, tensors, {"state": json.dumps(state)})

    def load(self, path: Path, fingerprint: str) -> bool:
        """Load a checkpoint; False if there is none, or it belongs to another training."""
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
        self.step, self.history, self.seconds = state["step"], state["history"], state["seconds"]
        self.generator.load_state_dict(_part(tensors, "generator"))
        self.adversary.load_state_dict(_part(tensors, "adversary"))
        _restore_optimizer(self.optimizer, _part(tensors, "optimizer"))
        _restore_optimizer(self.adversary_optimizer, _part(tensors, "adversary_optimizer"))
        return True


def _part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key[len(name) + 1 :]: value for key, value in tensors.items() if key.startswith(name + ".")}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Restore Adam's moments in the memory layout of their parameters: another layout may round differently."""
    parameters = optimizer.param_groups[0]["params"]
    for key, value in tensors.items():
        index, name = key.split(".")
        parameter = parameters[int(index)]
        moment = value if value.ndim == 0 else torch.empty_like(parameter).copy_(value)
        optimizer.state[parameter][name] = moment


def train_renderer(
    sources: RendererPairs | Sequence[RendererPairs],
    model: RendererSettings,
    training: TrainingSettings,
    *,
    checkpoint: Path,
    start: Mapping[str, Tensor] | None = None,
    device: torch.device | None = None,
    devices: int = 1,
    steps: Iterable[int] | None = None,
    watch: Callable[[int, NeuralRenderer], None] | None = None,
) -> tuple[NeuralRenderer, dict[str, list[int] | list[float]]]:
    """Train generator and discriminator on pairs; a killed training resumes from its last checkpoint.

    On a CPU, equal pairs, settings and thread count give equal weights, interrupted or not. Accelerators run the
    networks in half precision where they support it; several accelerators share each batch.

    Args:
        sources: training pairs of one person or of many; rows that are not `valid` serve as neighbours in the window,
            never as targets.
        model: settings of the network.
        training: settings of the training.
        checkpoint: checkpoint file to resume from and to update; one of another training is ignored and overwritten.
        start: initial weights, such as the generator prior's; None starts from random weights.
        device: device of the training; CPU by default.
        devices: number of devices; several devices train in separate processes, so a notebook can use them, too.
        steps: an iterable over `range(training.steps)` that shows progress; a resumed run skips finished steps.
        watch: called with the number of finished steps and the renderer, before the first step and after each; on one
            device only.

    Returns:
        The renderer and its history with one value for every 10 steps: `step` (the last of them), `seconds` (training
        time up to that step), and the mean losses `reconstruction`, `adversarial`, `discriminator`.

    Raises:
        ParameterError: the pairs do not match the settings, no row is valid, or there are too few devices.
        DataError: the checkpoint is unreadable, or training diverged.

    Source: paper section 2.4, Eqs. 2 to 4; order of updates and BCE with logits are pix2pix's and AudioDVP's.
    """
    sources = [sources] if isinstance(sources, RendererPairs) else sources
    batches = Batches(sources, model, training)
    _check_training(sources, model, training, device, devices)
    if devices > 1 and watch is not None:
        raise ParameterError("train_renderer: what several processes do cannot be watched. Use one device.")
    kind = (device or torch.device("cpu")).type
    fingerprint = compute_fingerprint(sources, model, training, start, kind)
    arguments = (kind, devices, batches, start, checkpoint, fingerprint)
    steps = range(training.steps) if steps is None else steps
    if devices == 1:
        _launch(*arguments, watch, steps)
    else:
        run_in_process(_launch, arguments, steps)
    trainer = _Trainer(_make_fabric(kind, 1), model, training, None)
    if not trainer.load(checkpoint, fingerprint) or trainer.step < training.steps:
        raise DataError(
            f"the training stopped at step {trainer.step} of {training.steps} ({checkpoint}). Run it again: it goes on."
        )
    network = trainer.generator.to(device or torch.device("cpu"))
    return NeuralRenderer(network.eval(), model), summarise_history(trainer.history, trainer.seconds)


def _check_training(
    sources: Sequence[RendererPairs],
    model: RendererSettings,
    training: TrainingSettings,
    device: torch.device | None,
    devices: int,
) -> None:
    if len(sources) == 1 and (sources[0].roi != model.roi or sources[0].size != model.size):
        raise ParameterError(
            f"train_renderer got pairs of {tuple(sources[0].roi)} in a {sources[0].size} px crop; the settings say "
            f"{tuple(model.roi)} in {model.size} px. Make both from the same crop."
        )
    check_devices(device, devices, training)


def check_devices(device: torch.device | None, devices: int, training: TrainingSettings) -> None:
    """Reject a training that cannot be divided among several devices; several CPU processes are allowed.

    Raises:
        ParameterError: there are too few devices, or the batch cannot be divided equally.
    """
    kind = (device or torch.device("cpu")).type
    there = torch.cuda.device_count() if kind == "cuda" else 1
    if devices > 1 and kind != "cpu" and devices > there:
        raise ParameterError(f"renderer_devices is {devices}; this machine has {there} of type {kind}.")
    if training.batch % (devices * (2 if training.motion_weight > 0 else 1)):
        raise ParameterError(
            f"renderer_batch is {training.batch}; {devices} devices must get equal parts of it, and with "
            "renderer_motion_weight whole pairs of frames."
        )


def _make_fabric(kind: str, devices: int) -> Fabric:
    return Fabric(
        accelerator="gpu" if kind == "cuda" else kind,
        devices=devices,
        strategy="auto" if devices == 1 else "ddp_spawn",
        # bfloat16 needs no loss scaling, whose state would have to be saved for resuming; older cards emulate it
        precision="bf16-mixed" if kind == "cuda" and torch.cuda.get_device_capability() >= (8, 0) else "32-true",
    )


def _launch(
    kind: str,
    devices: int,
    batches: Batches,
    start: Mapping[str, Tensor] | None,
    checkpoint: Path,
    fingerprint: str,
    watch: Callable[[int, NeuralRenderer], None] | None,
    steps: Iterable[int] | None = None,
) -> None:
    """Train in one process for each device; with several devices the caller must not be a notebook's kernel."""
    arguments = (batches, start, checkpoint, fingerprint, watch, steps)
    # Fabric's types forbid the further arguments that its manual allows
    _make_fabric(kind, devices).launch(_train, *arguments)  # type: ignore[arg-type]


def _train(
    fabric: Fabric,
    batches: Batches,
    start: Mapping[str, Tensor] | None,
    checkpoint: Path,
    fingerprint: str,
    watch: Callable[[int, NeuralRenderer], None] | None,
    steps: Iterable[int] | None,
) -> None:
    """Run the training loop of one process."""
    training = batches.training
    trainer = _Trainer(fabric, batches.model, training, start)
    trainer.set_up()  # before loading, so that the moments are on the device of their parameters
    trainer.load(checkpoint, fingerprint)
    place = fabric.global_rank, fabric.world_size
    saved = time.monotonic()

    def tell() -> None:
        if watch is not None and fabric.is_global_zero:
            watch(trainer.step, NeuralRenderer(trainer.generator, batches.model))

    tell()
    begun = time.perf_counter() - (trainer.seconds[-1] if trainer.seconds else 0.0)
    stream = read_ahead((batches.draw(step, *place) for step in range(trainer.step, training.steps)), depth=2)
    with closing(stream) as drawn:
        for step in range(training.steps) if steps is None else steps:
            if step < trainer.step:
                continue
            with torch.random.fork_rng(devices=[]):
                # dropout draws from the global generator; a seed of its own for each step makes resuming exact
                torch.manual_seed(training.seed * 1_000_003 + step)
                trainer.advance(next(drawn))
            trainer.seconds.append(time.perf_counter() - begun)
            is_due = trainer.step % training.checkpoint_steps == 0 or time.monotonic() - saved > CHECKPOINT_S
            if fabric.is_global_zero and (is_due or trainer.step == training.steps):
                trainer.save(checkpoint, fingerprint)
                saved = time.monotonic()
            tell()
    fabric.barrier()


def summarise_history(losses: list[list[float]], seconds: list[float]) -> dict[str, list[int] | list[float]]:
    """Average the losses over groups of `LOG_STEPS` steps and give their end times; the last group may be shorter.

    Args:
        losses: values of `LOSSES` for every step.
        seconds: duration of every step, s.
    """
    groups = [losses[start : start + LOG_STEPS] for start in range(0, len(losses), LOG_STEPS)]
    means = np.array([np.mean(group, axis=0) for group in groups]).reshape(-1, len(LOSSES))
    ends = [min(LOG_STEPS * number, len(losses)) for number in range(1, len(groups) + 1)]
    columns = {name: means[:, column].tolist() for column, name in enumerate(LOSSES)}
    return {"step": ends, "seconds": [seconds[end - 1] for end in ends], **columns}


def compute_fingerprint(
    sources: Sequence[RendererPairs],
    model: RendererSettings,
    training: TrainingSettings,
    start: Mapping[str, Tensor] | None,
    kind: str,
) -> str:
    """Compute a digest of everything that determines a training's outcome on one machine; `kind` is the device type."""
    settings = [
        asdict(model),
        asdict(training) | {"checkpoint_steps": None},
        torch.get_num_threads(),
        torch.__version__,
        kind,
        fingerprint_modules(__name__),
        [pairs.digest for pairs in sources],
    ]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for _, values in sorted((start or {}).items(), key=lambda item: item[0]):
        digest.update(values.cpu().numpy().tobytes())
    return digest.hexdigest()
