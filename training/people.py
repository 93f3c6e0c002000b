"""Shared code of the commands that render studio people in parallel, each to one file with pictures as JPEG bytes."""

import argparse
import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from torch import nn

from metatalk_lib.core.artifacts import save_arrays
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.studio.ground_truth import compute_truth
from metatalk_lib.studio.performance import Performance
from metatalk_lib.studio.scene import Pose, Scene

Person = TypeVar("Person")

TEST_EVERY = 10
"""One person in this many is held out for tests."""
RUNS = "Training"
"""Label of the line of a card that lists the training runs."""


def save_person(path: Path, scene: Scene, performance: Performance, quality: int, **arrays: np.ndarray) -> None:
    """Render every state of a performance; write the JPEGs, the arrays of `studio.truth`, and further arrays."""
    truth = compute_truth(scene, performance, load_face_model())
    coded = []
    for number, state in enumerate(zip(*performance, strict=True)):
        image = scene.render(Pose(*state[:3], float(state[3])), number)
        coded.append(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].ravel())
    lengths = np.array([len(code) for code in coded])
    save_arrays(path, jpeg=np.concatenate(coded), jpeg_length=lengths, **truth, **arrays)


def split_jpegs(jpeg: np.ndarray, jpeg_length: np.ndarray) -> list[np.ndarray]:
    """Decode the pictures of `save_person`, RGB."""
    codes = np.split(jpeg, np.cumsum(jpeg_length)[:-1])
    return [cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1] for code in codes]


def is_test(seed: int) -> bool:
    """Whether a person of `render_speakers` is held out for tests."""
    return seed % TEST_EVERY == TEST_EVERY - 1


def load_speakers(
    folder: Path, load: Callable[[Path], Person], *, at_least: int = 1
) -> tuple[list[Person], list[Person]]:
    """Load the people of `render_speakers`: those for training, and those held out for tests.

    Args:
        folder: folder of the files.
        load: function that loads a person from a file.
        at_least: smallest number of people for training.

    Raises:
        DataError: there are too few people.
    """
    known, unknown = [], []
    for path in track(sorted(folder.glob("*.npz")), "loading", unit="person"):
        (unknown if is_test(int(path.stem)) else known).append(load(path))
    if len(known) < at_least or not unknown:
        raise DataError(
            f"{folder} holds {len(known)} people to learn from and {len(unknown)} for tests; needed are {at_least} and "
            "1. Run training.render_speakers."
        )
    return known, unknown


def halve_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Convert a state dict for publication: floating-point values in half precision."""
    return {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}


def read_runs(weights: Path) -> str:
    """Read the line on the training runs from the card beside the weights."""
    lines = weights.with_suffix(".md").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"- {RUNS}: ")]
    return line.removeprefix(f"- {RUNS}: ")


def render_people(
    render_person: Callable[[Path, int, int], None], description: str | None, *, people: int, frames: int
) -> None:
    """Run the command line: render the missing people in parallel processes.

    Args:
        render_person: function of the file to write, the seed and the number of pictures.
        description: description of the command.
        people, frames: default numbers of people and frames.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--people", type=int, default=people)
    parser.add_argument("--frames", type=int, default=frames, help="pictures of each person")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    load_face_model()
    paths = {seed: arguments.output / f"{seed:05d}.npz" for seed in range(arguments.people)}
    jobs = [(path, seed, arguments.frames) for seed, path in paths.items() if not path.exists()]
    run_parallel(render_person, jobs, arguments.workers, "rendering people")


def run_parallel(function: Callable, jobs: Iterable[tuple], workers: int, label: str) -> None:
    """Call a function with each job's arguments in several processes, with a progress bar."""
    # forked workers would inherit the locks of threads that they do not have
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(function, *job) for job in jobs]
        for job in track(waiting, label, unit="person"):
            job.result()
