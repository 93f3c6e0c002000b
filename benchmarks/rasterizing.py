"""Time to rasterise a face of 33 thousand vertices at 256 x 256 on one core, compared with plain torch and PyTorch3D.

    python -m benchmarks.rasterizing [--repeats 3]

The plain rasteriser tests every pixel against every triangle, as batched torch operations in chunks. It draws
NAIVE_TRIANGLES of the face's triangles, spread over the face, and its time is scaled to all of them: its work is
proportional to their number. Its picture must be ours, or its time means nothing. PyTorch3D has rows where it is
installed.

Times are processor time, summed over all threads, so neither a busy machine nor a second core changes them; wall time
is also reported. Two cheats: a face outside the picture is drawn fast and must fail the coverage; the plain rasteriser
must fail the time.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.report import Row, finish
from metatalk_lib.core.parallel import torch_threads
from metatalk_lib.face3d import camera, pytorch3d_backend
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.face3d.face_renderer import Render, face_topology, render_face
from metatalk_lib.face3d.rasterizer import rasterize

SIZE = 256
FRAMES = 20
TIME_MS = 15.0
# the mean face fills about two fifths of its crop
COVERAGE = 0.3
SPEED_UP = 100.0
NAIVE_TRIANGLES = 1024
NAIVE_CHUNK = 32
PER_FRAME = ("expression", "rotation", "translation")


def make_frames(count: int = FRAMES) -> Coefficients:
    """Make coefficients of a person who talks and moves the head, drawn from a seed."""
    generator = np.random.default_rng(0)

    def draw(*shape: int, sigma: float) -> np.ndarray:
        return (sigma * generator.standard_normal(shape)).astype(np.float32)

    return Coefficients(
        frame_id=np.arange(count),
        identity=draw(80, sigma=0.5),
        texture=draw(80, sigma=0.5),
        expression=draw(count, 64, sigma=0.4),
        illumination=draw(count, 27, sigma=0.05),
        rotation=draw(count, 3, sigma=0.1),
        translation=draw(count, 3, sigma=0.05),
        valid=np.ones(count, dtype=bool),
        landmark_error_px=np.zeros(count, dtype=np.float32),
    )


class Timing(NamedTuple):
    """Milliseconds a call.

    Attributes:
        processor: processor time summed over all threads, as one idle core needs it.
        wall: elapsed time; longer than processor time on a busy machine.
    """

    processor: float
    wall: float


def measure(run: Callable[[int], object], count: int, repeats: int) -> Timing:
    """Median over the repeats of the median of the calls run(0) to run(count - 1), after one call to warm up."""
    run(0)
    medians = []
    for _ in range(repeats):
        times = []
        for index in range(count):
            processor, wall = time.process_time(), time.perf_counter()
            run(index)
            times.append((time.process_time() - processor, time.perf_counter() - wall))
        medians.append(np.median(times, axis=0))
    return Timing(*(1000 * np.median(medians, axis=0)).tolist())


def project_frame(
    model: FaceModel, coefficients: Coefficients, index: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, depths and triangles of one frame's whole face."""
    topology = face_topology(model)
    identity, expression, rotation, translation = (
        torch.from_numpy(part)[None]
        for part in (coefficients.identity, *(getattr(coefficients, name)[index] for name in PER_FRAME))
    )
    surface = camera.transform(model.compute_vertices(identity, expression), rotation, translation)
    surface = torch.cat((surface, surface[:, torch.from_numpy(topology.plug_vertices)]), dim=1)
    return camera.project(surface, SIZE)[0].numpy(), camera.depth(surface)[0].numpy(), topology.face


def rasterize_naively(points: torch.Tensor, depth: torch.Tensor, triangles: torch.Tensor) -> torch.Tensor:
    """The visible triangle of every pixel, (SIZE, SIZE), -1 where there is none: all pixels by all triangles."""
    axis = torch.arange(SIZE, dtype=points.dtype)
    pixel = torch.stack((axis.repeat(SIZE), axis.repeat_interleave(SIZE)), dim=-1)
    nearest = torch.full((SIZE * SIZE,), torch.inf, dtype=points.dtype)
    face_id = torch.full((SIZE * SIZE,), -1)
    for start in range(0, len(triangles), NAIVE_CHUNK):
        part = triangles[start : start + NAIVE_CHUNK]
        to = points[part][:, :, None] - pixel
        edge = torch.stack([_cross(to[:, (i + 1) % 3], to[:, (i + 2) % 3]) for i in range(3)])
        # seen from the front an area is negative, as y runs down
        inside = (edge <= 0).all(dim=0)
        distance = edge.sum(0) / (edge / depth[part].T[..., None]).sum(0)
        distance = torch.where(inside, distance, torch.inf)
        least, number = distance.min(dim=0)
        nearer = least < nearest
        nearest = torch.where(nearer, least, nearest)
        face_id = torch.where(nearer, number + start, face_id)
    return face_id.reshape(SIZE, SIZE)


def _cross(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def naive_rows(model: FaceModel, coefficients: Coefficients, ours_ms: float) -> list[Row]:
    """Measure the plain rasteriser's time, scaled to the whole face, and the agreement of its picture with ours."""
    points, depth, triangles = project_frame(model, coefficients, 0)
    some = triangles[:: len(triangles) // NAIVE_TRIANGLES][:NAIVE_TRIANGLES]
    tensors = [torch.from_numpy(part) for part in (points.astype(np.float64), depth.astype(np.float64), some)]
    drawn = rasterize_naively(*tensors).numpy()
    expected = rasterize(points, depth, some, (0, 0, SIZE, SIZE), cull_backfaces=True).face_id
    tensors = [part.float() if part.is_floating_point() else part for part in tensors]
    elapsed = measure(lambda _: rasterize_naively(*tensors), count=1, repeats=3).processor
    scaled = elapsed * len(triangles) / NAIVE_TRIANGLES
    differing = int((drawn != expected).sum())
    note = f"{NAIVE_TRIANGLES} triangles, scaled to {len(triangles)}"
    return [
        Row("plain torch and ours: pixels that differ in the triangle", differing, "px", "<=", 0),
        Row(f"plain torch, {note} (cheat)", scaled, "ms", "<=", TIME_MS, is_cheat=True),
        Row("plain torch / ours with shading", scaled / ours_ms, "", ">=", SPEED_UP),
    ]


def pytorch3d_rows(model: FaceModel, coefficients: Coefficients, ours_ms: float) -> list[Row]:
    """The same face by PyTorch3D on this core; nothing where it is not installed."""
    if not pytorch3d_backend.is_installed():
        return []
    frame = project_frame(model, coefficients, 0)
    window = (0, 0, SIZE, SIZE)
    elapsed = measure(
        lambda _: pytorch3d_backend.rasterize_pytorch3d(*frame, window, cull_backfaces=True), count=1, repeats=1
    ).processor
    return [
        Row("PyTorch3D on the CPU, rasterising alone", elapsed, "ms", None, None),
        Row("PyTorch3D / ours with shading", elapsed / ours_ms, "", ">=", 1.0),
    ]


def rows(repeats: int = 3) -> list[Row]:
    """The figures of drawing a whole face, all on one core."""
    model, coefficients = load_face_model(), make_frames()
    away = dataclasses.replace(coefficients, translation=coefficients.translation + np.float32(5))

    def draw(index: int) -> Render:
        return render_face(model, coefficients, index, SIZE)

    def coverage(frames: Coefficients) -> float:
        return float(np.mean([render_face(model, frames, index, SIZE).mask.mean() for index in range(FRAMES)]))

    with torch_threads(1):
        ours = measure(draw, FRAMES, repeats)
        name = f"{model.vertex_count} vertices at {SIZE} px, drawn and shaded"
        return [
            Row(f"{name}: processor time", ours.processor, "ms", "<=", TIME_MS),
            Row(f"{name}: wall time", ours.wall, "ms", None, None),
            Row("share of the crop that the face covers", coverage(coefficients), "", ">=", COVERAGE),
            Row("the same of a face outside the crop (cheat)", coverage(away), "", ">=", COVERAGE, is_cheat=True),
            *naive_rows(model, coefficients, ours.processor),
            *pytorch3d_rows(model, coefficients, ours.processor),
        ]


def main() -> None:
    """Run the benchmark and exit with 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    sys.exit(finish("rasterizing", rows(parser.parse_args().repeats)))


if __name__ == "__main__":
    main()
