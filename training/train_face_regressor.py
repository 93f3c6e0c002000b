"""Train the open face regressor on rendered people and write its weights and its card.

    python -m training.render_faces --output outputs/training/faces
    python -m training.train_face_regressor --faces outputs/training/faces

Every value on the card is measured by the run that writes it, on held-out people.
"""

import argparse
import platform
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import distributed, multiprocessing, nn

from metatalk_lib.core.artifacts import atomic_path, load_arrays
from metatalk_lib.core.checkpoints import save_weights
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.networks.dense_landmark_net import DenseLandmarkNet
from metatalk_lib.reconstruction.dense_landmarks import (
    FACE_SIDE_DM,
    MOUTH_SIDE_DM,
    PointSet,
    choose_points,
    cut_views,
    load_regressor,
    mean_template,
    to_input,
)
from metatalk_lib.reconstruction.gauss_newton import OUTER_EYE
from metatalk_lib.studio.ground_truth import project_truth, true_control_vertices
from training.licences import describe_licence
from training.precision import PRECISION, low_precision

HELD_OUT_SHARE, HELD_OUT_LEAST = 0.06, 2
BATCH = 48
LEARNING_RATE, LATER_LEARNING_RATE = 2.5e-3, 1.2e-3  # from random weights, and from weights of an earlier run
FIRST_LOG_DOUBT = -1.0
# Opening and width of the mouth have their own loss: they suffer if two points err differently, not if they err alike.
PAIRS = ((61, 67), (62, 66), (63, 65), (60, 64), (48, 54), (50, 58), (51, 57), (52, 56))
PAIR_DOUBT, PAIR_SHARE = 0.02, 0.2  # in half sides of the mouth view; weight beside the points
# Errors of the coarse landmarks that place the views, as shares of the outer-eye distance and radians.
SHIFT, MOUTH_SHIFT, SCALE, TURN = 0.06, 0.05, 0.07, 0.07


class Faces:
    """Rendered people in memory: pictures as JPEG bytes, points in px of the picture."""

    def __init__(self, paths: list[Path], model: FaceModel, points: PointSet) -> None:
        self.codes, places = [], []
        for path in track(paths, "reading people", unit="person"):
            arrays = load_arrays(path)
            ends = np.cumsum(arrays["jpeg_length"])
            self.codes += [arrays["jpeg"][end - n : end] for end, n in zip(ends, arrays["jpeg_length"], strict=True)]
            vertices = true_control_vertices(arrays, model, slice(None))
            on_face = np.stack([points.matrix @ frame for frame in vertices])
            places.append(project_truth(on_face, arrays).astype(np.float32))
        self.points = np.concatenate(places)

    def __len__(self) -> int:
        return len(self.codes)


def make_example(
    faces: Faces, index: int, points: PointSet, template: np.ndarray, generator: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make face view, mouth view and points in half sides of their view; a generator turns on random augmentation."""
    image = cv2.imdecode(faces.codes[index], cv2.IMREAD_COLOR)[..., ::-1]
    placed = faces.points[index].astype(np.float64)
    if generator is not None and generator.random() < 0.5:
        image = image[:, ::-1]
        placed = placed[points.mirror]
        placed[:, 0] = image.shape[1] - 1 - placed[:, 0]
    image = np.ascontiguousarray(image)
    coarse = placed[points.landmark]
    if generator is not None:
        image = cover_partly(image, coarse, generator)
        coarse = disturb(coarse, generator)
    views = cut_views(image, coarse, template)
    face, mouth = views.face, views.mouth
    if generator is not None:
        face, mouth = degrade([face, mouth], generator)
    targets = [
        np.linalg.solve(matrix[:, :2], (part - matrix[:, 2]).T).T
        for matrix, part in (
            (views.face_to_picture, placed[: points.face_count]),
            (views.mouth_to_picture, placed[points.face_count :]),
        )
    ]
    return face, mouth, np.concatenate(targets).astype(np.float32)


def disturb(coarse: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Disturb coarse landmarks like a detector: shifted, rotated and scaled as a whole, and the mouth separately."""
    unit = np.linalg.norm(coarse[OUTER_EYE[0]] - coarse[OUTER_EYE[1]])
    centre = coarse.mean(axis=0)
    angle, scale = generator.normal(0, TURN), np.exp(generator.normal(0, SCALE))
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (coarse - centre) @ turn.T + centre + generator.normal(0, SHIFT * unit, 2)
    moved[48:] += generator.normal(0, MOUTH_SHIFT * unit, 2)
    return moved


def cover_partly(image: np.ndarray, coarse: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Occlude the face at random, as by a hand, a microphone or glasses: an ellipse or a bar of one colour."""
    if generator.random() > 0.25:
        return image
    image = image.copy()
    low, high = coarse.min(axis=0), coarse.max(axis=0)
    for _ in range(generator.integers(1, 3)):
        centre = generator.uniform(low - 20, high + 20)
        axes = generator.uniform(4, 45, 2)
        colour = generator.integers(0, 256, 3).tolist()
        place = tuple(int(value) for value in centre), tuple(int(value) for value in axes)
        cv2.ellipse(image, *place, float(generator.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    return image


def degrade(views: list[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
    """Simulate another camera, equally for both views: colour, contrast, blur, resolution, noise and compression."""
    gain = np.exp(generator.normal(0, 0.22)) * np.exp(generator.normal(0, 0.08, 3))
    offset, gamma = generator.normal(0, 14), np.exp(generator.normal(0, 0.2))
    is_grey = generator.random() < 0.12
    blur = max(0.0, generator.normal(0, 0.9))
    noise = abs(generator.normal(0, 5.0))
    quality = int(generator.integers(25, 95)) if generator.random() < 0.4 else 0
    levels = 255 * (np.arange(256) / 255) ** gamma
    table = (levels[:, None] * gain + offset).astype(np.float32)[None]
    result = []
    for scale, view in zip((1.0, FACE_SIDE_DM / MOUTH_SIDE_DM), views, strict=True):
        changed = cv2.LUT(view, table)
        if is_grey:
            changed[:] = changed.mean(axis=-1, keepdims=True)
        if blur * scale > 0.25:
            changed = cv2.GaussianBlur(changed, (0, 0), blur * scale * 0.7)
        changed += np.float32(noise) * generator.standard_normal(changed.shape, dtype=np.float32)
        picture = np.clip(changed, 0, 255).astype(np.uint8)
        if quality:
            code = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            picture = cv2.imdecode(code, cv2.IMREAD_COLOR)
        result.append(picture)
    return result


def iterate_batches(
    faces: Faces, points: PointSet, template: np.ndarray, order: np.ndarray, seed: int | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Yield batches in order; the next one is prepared during the current step. Each example has its own generator."""

    def make(batch: np.ndarray) -> list:
        return [
            make_example(
                faces, int(i), points, template, None if seed is None else np.random.default_rng([seed, int(i)])
            )
            for i in batch
        ]

    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(make, batches[0])
        for following in [*batches[1:], None]:
            examples = waiting.result()
            if following is not None:
                waiting = pool.submit(make, following)
            face, mouth, target = zip(*examples, strict=True)
            yield to_input(face), to_input(mouth), torch.from_numpy(np.stack(target))


def train(
    faces: Faces, points: PointSet, template: np.ndarray, arguments: argparse.Namespace, rank: int
) -> DenseLandmarkNet:
    """Train by AdamW with a one-cycle rate on a Gaussian negative log likelihood of every point and on the pairs.

    Each process trains on its share of every epoch and averages gradients with the others.
    """
    torch.manual_seed(arguments.seed)
    epochs, processes = arguments.epochs, arguments.processes
    network, rate = first_network(points, arguments.start)
    learner = nn.parallel.DistributedDataParallel(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    share = len(faces) // processes
    if not share:
        raise DataError(f"{len(faces)} pictures for {processes} processes. Render more people, or use one process.")
    steps = epochs * -(-share // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.15)
    generator = np.random.default_rng(arguments.seed)
    learner.train()
    for epoch in range(epochs):
        losses, started = [], time.perf_counter()
        order = generator.permutation(len(faces))[rank::processes][:share]
        for face, mouth, target in iterate_batches(faces, points, template, order, arguments.seed * 1000 + epoch):
            with low_precision():
                placed, log_doubt = learner(face, mouth)
            squared = (placed - target).square().sum(dim=-1)
            loss = (2 * log_doubt + 0.5 * squared * torch.exp(-2 * log_doubt)).mean()
            pairs = [between_lips(part, points) / PAIR_DOUBT for part in (placed, target)]
            loss = loss + PAIR_SHARE * nn.functional.smooth_l1_loss(*pairs)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append((loss.item(), squared.detach().sqrt().mean().item()))
        mean = np.mean(losses, axis=0)
        if rank == 0:
            print(
                f"epoch {epoch + 1}: loss {mean[0]:.3f}, distance {mean[1]:.4f} half sides, "
                f"{time.perf_counter() - started:.0f} s",
                flush=True,
            )
    return network.eval()


def first_network(points: PointSet, start: Path | None) -> tuple[DenseLandmarkNet, float]:
    """Make the initial network, and choose its learning rate."""
    if start is not None:
        return load_regressor(start), LATER_LEARNING_RATE
    network = DenseLandmarkNet(points.face_count, len(points.mirror) - points.face_count)
    with torch.no_grad():
        network.whole.weight.mul_(0.1)
        network.whole.bias.reshape(-1, 3).copy_(torch.tensor([0.0, 0.0, FIRST_LOG_DOUBT]))
    return network.to(memory_format=torch.channels_last), LEARNING_RATE


def between_lips(places: torch.Tensor, points: PointSet) -> torch.Tensor:
    """Compute the vectors (B, P, 2) from one point of each pair to the other."""
    first, second = points.landmark[np.array(PAIRS).T]
    return places[:, first] - places[:, second]


def measure(network: DenseLandmarkNet, faces: Faces, points: PointSet, template: np.ndarray, seed: int | None) -> dict:
    """Measure distances of predicted from true points, percent of the outer-eye distance, and predicted uncertainty."""
    distance, doubt = [], []
    batches = iterate_batches(faces, points, template, np.arange(len(faces)), seed)
    for face, mouth, target in batches:
        with torch.inference_mode():
            placed, log_doubt = network(face, mouth)
        distance.append((placed - target).norm(dim=-1))
        doubt.append(log_doubt.exp())
    distance, doubt = torch.cat(distance).numpy(), torch.cat(doubt).numpy()
    # half sides to dm of the mean face, then to percent of its outer-eye distance
    sides = np.where(np.arange(distance.shape[1]) < points.face_count, FACE_SIDE_DM / 2, MOUTH_SIDE_DM / 2)
    eyes = np.linalg.norm(template[OUTER_EYE[0]] - template[OUTER_EYE[1]])
    percent = 100 * distance * sides / eyes
    expected = doubt * np.sqrt(np.pi / 2)
    lips = points.landmark[48:]
    inner = points.landmark[17:48]
    return {
        "pictures": len(faces),
        "all points, % of the outer-eye distance": percent.mean(),
        "lip landmarks": percent[:, lips].mean(),
        "brow, nose and eye landmarks": percent[:, inner].mean(),
        "jaw landmarks": percent[:, points.landmark[:17]].mean(),
        "lip points, foretold over true distance": expected[:, lips].mean() / distance[:, lips].mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True, help="what render_faces.py wrote")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent.parent / "metatalk_lib" / "data")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--start", type=Path, help="weights of an earlier run, with their card, to go on from")
    parser.add_argument("--people", type=int, default=0, help="use only the first so many")
    parser.add_argument("--processes", type=int, default=2, help="that share the work, each on one core")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    arguments.made_by = made_by(arguments)
    load_face_model()
    with tempfile.TemporaryDirectory() as folder:
        shared = (arguments, f"{folder}/meeting")
        if arguments.processes == 1:
            run(0, *shared)
        else:
            multiprocessing.spawn(run, shared, nprocs=arguments.processes)
    print((arguments.output / "face_regressor_open.md").read_text("utf-8"))


def run(rank: int, arguments: argparse.Namespace, meeting: str) -> None:
    """Main function of each process; the first one measures and writes."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=arguments.processes)
    started = time.perf_counter()
    model = load_face_model()
    points, template = choose_points(model), mean_template(model)
    paths = sorted(arguments.faces.glob("*.npz"))[: arguments.people or None]
    held_out = max(HELD_OUT_LEAST, round(HELD_OUT_SHARE * len(paths)))
    training = Faces(paths[held_out:], model, points)
    network = train(training, points, template, arguments, rank)
    distributed.destroy_process_group()
    if rank > 0:
        return
    save(arguments.output, network, points)
    test = Faces(paths[:held_out], model, points)
    results = {
        "as rendered": measure(network, test, points, template, None),
        "degraded": measure(network, test, points, template, 77),
    }
    counts = {
        "Training data": f"{len(paths) - held_out} rendered people, {len(training)} pictures",
        "Time of this run": f"{(time.perf_counter() - started) / 60:.1f} minutes, {arguments.processes} cores, "
        "rendering not included",
        "Size": f"{sum(value.numel() for value in network.parameters())} weights, stored in half precision",
    }
    write_card(arguments.output / "face_regressor_open.md", arguments, results, counts)


def save(folder: Path, network: DenseLandmarkNet, points: PointSet) -> None:
    """Save weights in half precision with the sizes of the network."""
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    weights["face_points"] = torch.tensor(points.face_count)
    weights["mouth_points"] = torch.tensor(len(points.mirror) - points.face_count)
    save_weights(folder / "face_regressor_open.safetensors", weights)


def write_card(path: Path, arguments: argparse.Namespace, results: dict[str, dict], counts: dict[str, str]) -> None:
    """Write the card beside the weights: contents, training and evaluation."""
    names = list(results)
    rows = [f"| {key} | " + " | ".join(_cell(results[name][key]) for name in names) + " |" for key in results[names[0]]]
    text = f"""# face_regressor_open.safetensors

Two views of a face of 128 px, the whole and close to the mouth, to points on the open face model's surface, each with
its doubt.

{arguments.made_by}
- Trained on: studio people drawn at random, none of them one of the characters A to G. No picture of a person was used.
- Machine: {platform.machine()}, torch {torch.__version__}, convolutions in {PRECISION}
{"".join(f"- {name}: {value}{chr(10)}" for name, value in counts.items())}
Measured on people that were never trained on: mean distance of the points, in percent of the outer-eye distance.
"Degraded" changes colour, blur, noise, compression, placement and covers parts, as in training.

| | {" | ".join(names)} |
|---|{"---|" * len(names)}
{chr(10).join(rows)}

Limits: computer-made faces only; how well real ones work is measured by `make bench-reconstruction`. Turned by more
than about 35 degrees, a face is outside of what it saw.

{describe_licence("pictures", "movements", "texts", "synthetic voices")}"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8")


def made_by(arguments: argparse.Namespace) -> str:
    """List the commands of this run and of the runs before it, in order."""
    command = f"`python -m training.train_face_regressor --epochs {arguments.epochs} --seed {arguments.seed}"
    if arguments.start is None:
        return f"- Made by: `python -m training.render_faces` (its defaults), then\n  {command}`"
    card = arguments.start.with_suffix(".md").read_text("utf-8")
    earlier = re.search(r"^- Made by:.*?(?=\n- Trained on)", card, re.MULTILINE | re.DOTALL)
    if earlier is None:
        raise DataError(f"{arguments.start.with_suffix('.md')} does not say how its weights were made. Train anew.")
    return f"{earlier.group()}, then\n  {command} --start WEIGHTS_SO_FAR`"


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    main()
