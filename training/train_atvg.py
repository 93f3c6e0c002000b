"""Train the open ATVG, a compared method, on studio people who speak; write its weights and its card.

    python -m training.render_speakers --output outputs/training/speakers
    python -m training.train_atvg --speakers outputs/training/speakers

AT-net learns to predict landmarks from speech: from that of the people, and from utterances without pictures. VG-net
learns to generate a person's frame from another frame and the landmarks of both. Every value on the card is measured by
the run that writes it, with the published weights, on held-out people, voices and sentences.

The weights are saved every few minutes as `atvg.safetensors` beside the people. A killed run is resumed by `--start`
with that file and fewer steps, and `--at-steps 0` if AT-net had finished.

    python -m training.train_atvg --published tests/data/reference/front_atvg_landmark.npz

writes the constants of the published demo, `atvg_landmarks.json`, and does nothing else.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from metatalk_lib.baselines.atvg import (
    ATVG,
    COMPONENTS,
    OPEN_ATVG_PATH,
    OPEN_ATVG_WIDTH,
    PUBLISHED_LANDMARKS_PATH,
    OpenATVG,
    draw_faces,
    load_open_atvg,
    move_atvg_landmarks,
)
from metatalk_lib.baselines.atvg_landmarks import LANDMARK_SCALE
from metatalk_lib.core.artifacts import atomic_path, save_json
from metatalk_lib.core.checkpoints import load_strictly, load_weights, save_weights
from metatalk_lib.core.machine import describe_machine
from metatalk_lib.core.progress import track
from metatalk_lib.metrics.image_quality import to_psnr
from metatalk_lib.networks.vg_net import VG_NET_FACE_SIZE
from metatalk_lib.tracking.landmarks import MOUTH, mouth_opening
from training.atvg_people import (
    CLIP_FRAMES,
    CLIPS,
    PEOPLE,
    TARGETS,
    Clip,
    Talker,
    draw_clips,
    draw_pictures,
    load_talker,
    make_base,
    make_space,
    mouth_box,
    speak_clips,
)
from training.licences import SOURCES, describe_licence
from training.people import halve_weights, load_speakers
from training.precision import low_precision
from training.speech_corpus import make_training
from training.train_audio_encoder import CepstrumAugmentation

MOUTH_WEIGHT = 10.0
RATE, BETAS = 1e-3, (0.5, 0.999)
SAY_STEPS, CHECKPOINT_STEPS = 50, 200
OPEN_CHECKPOINT = "atvg.safetensors"


def train_at_net(network: OpenATVG, groups: Sequence[Sequence[Clip]], steps: int, seed: int, checkpoint: Path) -> None:
    """Train AT-net on the squared error of the coefficients, each in units of its spread among people's frames."""
    at_net, generator = network.at_net.train(), np.random.default_rng(seed)
    people = np.stack([clip.coefficients.mean(axis=0) for clip in groups[0]])
    moved = np.concatenate([clip.coefficients - mean for clip, mean in zip(groups[0], people, strict=True)])
    spread = torch.from_numpy(moved.std(axis=0))
    augment = CepstrumAugmentation(np.concatenate([clip.blocks[:, 0] for clip in groups[0]]).std(axis=0))

    def compute_loss() -> torch.Tensor:
        blocks, example, wanted = draw_clips(groups, people, augment, generator)
        with low_precision():
            features = at_net.encode_audio(blocks)
        return ((at_net.drive(example, features.float()) - wanted) / spread).square().mean()

    _optimise(network, at_net, compute_loss, steps, "AT-net", checkpoint)


def wake(network: OpenATVG) -> None:
    """Set initial weights that learn fast: AT-net's linear layers keep the signal's scale, the last one is zero."""
    for module in network.at_net.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            torch.nn.init.zeros_(module.bias)
    torch.nn.init.zeros_(network.at_net.lstm_fc[0].weight)


def train_vg_net(network: OpenATVG, talkers: Sequence[Talker], steps: int, seed: int, checkpoint: Path) -> None:
    """Train VG-net on the absolute error, with more weight on the mouth; without dropout, as the network is small."""
    space, vg_net, generator = network.freeze().space, network.vg_net.train(), np.random.default_rng(seed)
    for module in vg_net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    weight = torch.ones(VG_NET_FACE_SIZE, VG_NET_FACE_SIZE)
    weight[mouth_box(space.base)] = MOUTH_WEIGHT

    def compute_loss() -> torch.Tensor:
        face, images, wanted, example = draw_pictures(talkers, space, generator)
        with low_precision():
            drawn = vg_net(face, wanted, example, is_independent=True).images
        return ((drawn.float() - images).abs() * weight).mean() / weight.mean()

    _optimise(network, vg_net, compute_loss, steps, "VG-net", checkpoint)


def measure_lips(atvg: ATVG, talkers: Sequence[Talker]) -> dict[str, list[float]]:
    """Compute rows of the card: r of the mouth opening, its spread, and the error of the lip landmarks, px of 128."""
    rows: dict[str, list] = {name: [] for name in ("own sound", "own sound, reversed in time", "the still repeated")}
    base = atvg.space.base
    pixels = np.linalg.norm(base - base.mean(axis=0)) / LANDMARK_SCALE
    for talker in talkers:
        truth = talker.landmarks.reshape(-1, 68, 2) * pixels
        still = atvg.space.encode(talker.landmarks[0])
        moved = move_atvg_landmarks(atvg, talker.pcm_16k.astype(np.float32) / 32768, len(truth), still)
        heard = truth[0] + (moved - atvg.space.decode(still)).reshape(-1, 68, 2) * pixels
        for name, lips in zip(rows, (heard, heard[::-1], np.repeat(truth[:1], len(truth), axis=0)), strict=True):
            opening, real = mouth_opening(lips), mouth_opening(truth)
            agreement = np.corrcoef(opening, real)[0, 1] if opening.std() > 1e-3 else np.nan
            error = np.linalg.norm(lips[:, MOUTH] - truth[:, MOUTH], axis=2).mean()
            rows[name].append((agreement, opening.std() / real.std(), error))
    return {name: np.mean(values, axis=0).tolist() for name, values in rows.items()}


def measure_pictures(atvg: ATVG, talkers: Sequence[Talker]) -> dict[str, list[float]]:
    """Compute rows of the card: mean absolute error of picture and mouth, of 255, and PSNR of the mouth, dB."""
    names = ("true landmarks", "landmarks heard by AT-net", "true landmarks, reversed in time", "the still repeated")
    rows: dict[str, list] = {name: [] for name in names}
    box = mouth_box(atvg.space.base)
    for talker in track(talkers, "drawing", unit="person"):
        truth, coefficients = talker.faces[1:].astype(np.float32), atvg.space.encode(talker.landmarks)
        example, seen = atvg.space.decode(coefficients[0]), atvg.space.decode(coefficients[1:])
        samples = talker.pcm_16k.astype(np.float32) / 32768
        heard = move_atvg_landmarks(atvg, samples, len(talker.faces), coefficients[0])[1:]
        drawn = [
            (np.stack(list(draw_faces(atvg, talker.faces[0], wanted, example))) + 1) * 127.5
            for wanted in (seen, heard, seen[::-1].copy())
        ]
        for name, images in zip(names, (*drawn, np.broadcast_to(talker.faces[0], truth.shape)), strict=True):
            gap = images - truth
            mouth = gap[(slice(None), *box)]
            rows[name].append((np.abs(gap).mean(), np.abs(mouth).mean(), to_psnr(float(np.square(mouth).mean()))))
    return {name: np.mean(values, axis=0).tolist() for name, values in rows.items()}


def publish(network: OpenATVG, talkers: Sequence[Talker], counts: dict[str, str], output: Path) -> None:
    """Write weights in half precision, the landmark space in single precision, and the card, measured with them."""
    weights = halve_weights(network) | {name: getattr(network, name) for name in ("base", "mean", "components")}
    # faces of one batch are unrelated, so the weights of the recurrent state are never learnt
    unused = "vg_net.convGRU.weight_hh_l0"
    weights[unused] = torch.zeros_like(weights[unused])
    path = output / OPEN_ATVG_PATH.name
    save_weights(path, weights)
    shipped = load_open_atvg(path)
    text = write_card(measure_lips(shipped, talkers), measure_pictures(shipped, talkers), counts, len(talkers))
    with atomic_path(path.with_suffix(".md")) as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def write_card(
    lips: dict[str, list[float]], pictures: dict[str, list[float]], counts: dict[str, str], people: int
) -> str:
    """Compose the card: description, training and results of the weights."""

    def table(rows: dict[str, list[float]], digits: Sequence[int]) -> str:
        cells = {
            name: [
                f"{value:.{places}f}" if np.isfinite(value) else "–" for value, places in zip(row, digits, strict=True)
            ]
            for name, row in rows.items()
        }
        return "\n".join(f"| {name} | {' | '.join(row)} |" for name, row in cells.items())

    return f"""# {OPEN_ATVG_PATH.name}

ATVG's two networks at {OPEN_ATVG_WIDTH:g} of their width, AT-net (speech to landmarks) and VG-net (landmarks to a
face of {VG_NET_FACE_SIZE} px), with the space of landmarks between them: the aligned base, the mean, and {COMPONENTS}
components of what people's own faces do. Called "ATVG (open weights)"; it shares no weight with the published files.

- Made by: `python -m training.render_speakers`, then `python -m training.train_atvg`
{chr(10).join(f"- {name}: {value}" for name, value in counts.items())}
- Machine: {describe_machine()}

Measured on {people} studio people, voices and sentences that were not trained on, from each one's first frame; none of
the people or voices is one of the characters A to G.

AT-net, spread 1 is the truth's:

| driven by | r of the mouth opening | its spread | lip landmarks off by, px |
|---|---|---|---|
{table(lips, (3, 2, 2))}

VG-net, before the contrast is stretched:

| drawn from | error, of 255 | error of the mouth | PSNR of the mouth, dB |
|---|---|---|---|
{table(pictures, (2, 2, 2))}

Limits: it has seen studio people only, whose lips move by the project's own rule of visemes; AT-net's utterances are
spoken by the audio encoder's voices, some of them characters' own. VG-net learned by the absolute error alone, so its
mouths are softer than the published one's, which had a discriminator.

{describe_licence(*SOURCES)}"""


def write_published_landmarks(golden: Path, output: Path) -> None:
    """Write the constants of the published demo from the reference file that the tests also use."""
    with np.load(golden, allow_pickle=False) as file:
        values = {name: file[name].tolist() for name in ("constant_lmark", "at_input", "vg_example")}
    source = (
        "lelechen63/ATVGnet code/demo.py and basics (MIT): what its landmark normalisation makes of any single still"
    )
    save_json(output / PUBLISHED_LANDMARKS_PATH.name, {"source": source, "landmarks": values})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, help="folder of training.render_speakers")
    parser.add_argument("--utterances", type=int, default=1200, help="spoken for AT-net alone")
    parser.add_argument("--at-steps", type=int, default=2500)
    parser.add_argument("--vg-steps", type=int, default=2800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="processes that speak, then threads that train")
    parser.add_argument("--start", type=Path, help="an earlier run's checkpoint")
    parser.add_argument("--output", type=Path, default=OPEN_ATVG_PATH.parent)
    parser.add_argument("--published", type=Path, help="reference file with the published demo's constants")
    arguments = parser.parse_args()
    if arguments.published:
        write_published_landmarks(arguments.published, arguments.output)
        return
    if not arguments.speakers:
        parser.error("--speakers names the folder of training.render_speakers.")
    torch.set_num_threads(arguments.threads)
    known_paths, test_paths = load_speakers(arguments.speakers, Path, at_least=PEOPLE)
    base, paths = make_base(known_paths), [*known_paths, *test_paths]
    with ThreadPoolExecutor(arguments.threads) as pool:
        loaded = pool.map(lambda path: load_talker(path, base), paths)
        talkers = list(track(loaded, "aligning faces", total=len(paths), unit="person"))
    network, counts = train(talkers[: len(known_paths)], base, arguments)
    publish(network, talkers[len(known_paths) :], counts, arguments.output)


def train(
    talkers: Sequence[Talker], base: np.ndarray, arguments: argparse.Namespace
) -> tuple[OpenATVG, dict[str, str]]:
    """Train both networks in turn; also returns the card's facts on their training."""
    torch.manual_seed(arguments.seed)
    space, network, checkpoint = make_space(talkers, base), OpenATVG(), arguments.speakers / OPEN_CHECKPOINT
    wake(network)
    if arguments.start:
        advice = "Leave --start out."
        load_strictly(network, load_weights(arguments.start, advice), arguments.start, advice)
    for name in ("base", "mean", "components"):
        getattr(network, name).copy_(torch.from_numpy(getattr(space, name)))
    clock = [time.perf_counter()]
    utterances = make_training(arguments.utterances, arguments.seed, arguments.threads) if arguments.at_steps else []
    clock.append(time.perf_counter())
    own = [Clip(blocks, space.encode(talker.landmarks)) for talker in talkers for blocks in talker.blocks]
    groups = [own, *([speak_clips(utterances, space)] if utterances else [])]
    train_at_net(network, groups, arguments.at_steps, arguments.seed, checkpoint)
    clock.append(time.perf_counter())
    train_vg_net(network, talkers, arguments.vg_steps, arguments.seed, checkpoint)
    clock.append(time.perf_counter())
    speaking, hearing, drawing = np.diff(clock) / 60
    return network, {
        "Learnt from": f"{len(talkers)} random studio people, {sum(len(talker.faces) for talker in talkers)} frames; "
        f"AT-net also from {len(utterances)} utterances, {sum(len(item.actions) for item in utterances)} frames",
        "AT-net": f"{arguments.at_steps} steps of {CLIPS} clips of {CLIP_FRAMES} frames, {hearing:.0f} minutes and "
        f"{speaking:.0f} of speaking",
        "VG-net": f"{arguments.vg_steps} steps of {PEOPLE * TARGETS} pictures, {drawing:.0f} minutes",
        "Seed": f"{arguments.seed}" + (", going on from an earlier checkpoint" if arguments.start else ""),
    }


def _optimise(
    network: OpenATVG,
    part: torch.nn.Module,
    compute_loss: Callable[[], torch.Tensor],
    steps: int,
    name: str,
    checkpoint: Path,
) -> None:
    """Train one of the networks by Adam with a one-cycle rate; prints progress and saves both networks."""
    if steps == 0:
        return
    part.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(part.parameters(), lr=RATE, betas=BETAS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps, pct_start=0.1)
    losses, started = [], time.perf_counter()
    for step in range(1, steps + 1):
        loss = compute_loss()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % SAY_STEPS == 0 or step == steps:
            mean, minutes = np.mean(losses[-SAY_STEPS:]), (time.perf_counter() - started) / 60
            print(f"{name}, step {step} of {steps}: loss {mean:.4f}, {minutes:.1f} min", flush=True)
        if step % CHECKPOINT_STEPS == 0 or step == steps:
            save_weights(checkpoint, network.state_dict())


if __name__ == "__main__":
    main()
