"""Small files of the structure of the Basel Face Model 2009 and its companions; the numbers are made up."""

from pathlib import Path

import numpy as np
from scipy.io import savemat

from metatalk_lib.face3d.bfm09 import FILES, Layout

COLUMNS, ROWS = 33, 41
FILE_NAMES = dict(
    zip(
        FILES,
        (
            "01_MorphableModel.mat",
            "Exp_Pca.bin",
            "std_exp.txt",
            "BFM_front_idx.mat",
            "BFM_exp_idx.mat",
            "facemodel_info.mat",
        ),
        strict=True,
    )
)
# Added to the mean shape, because the published one is not centred; decimetres.
SHIFT = np.array((0.02, -0.31, 0.44))
UNUSED_TRIMMED, UNUSED_FULL = 23, 31  # vertices that the crop, and the expressions, leave out


def _sheet() -> tuple[np.ndarray, np.ndarray]:
    """A bulging face of COLUMNS x ROWS vertices (dm) and its triangles, counter-clockwise, with holes: mouth, eye."""
    x, y = np.meshgrid(np.linspace(-0.8, 0.8, COLUMNS), np.linspace(1.0, -1.0, ROWS))
    z = 0.9 - 0.7 * x**2 - 0.4 * y**2 + 0.25 * np.exp(-40 * x**2 - 30 * (y - 0.05) ** 2)
    vertices = np.stack((x + 0.01 * y, y, z), axis=-1).reshape(-1, 3)  # a little askew: no model of scans is symmetric
    ids = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)
    quads = np.stack((ids[:-1, :-1], ids[1:, :-1], ids[1:, 1:], ids[:-1, 1:]), axis=-1).reshape(-1, 4)
    centre = vertices[quads].mean(axis=1)
    mouth = (np.abs(centre[:, 0]) < 0.18) & (np.abs(centre[:, 1] + 0.45) < 0.04)
    eye = (np.abs(centre[:, 0] + 0.35) < 0.1) & (np.abs(centre[:, 1] - 0.4) < 0.06)
    quads = quads[~mouth & ~eye]
    return vertices, np.concatenate((quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]))


def _arc(left: float, right: float, y: float, height: float, count: int) -> np.ndarray:
    turn = np.linspace(0, np.pi, count)
    return np.stack((left + (right - left) * (1 - np.cos(turn)) / 2, y + height * np.sin(turn)), axis=1)


def _landmark_positions() -> np.ndarray:
    """(68, 2) plausible places, dm, in the detectors' order."""
    eye, lid, lip, inner = 0.13, 0.07, 0.1, 0.06
    return np.concatenate(
        (
            _arc(-0.7, 0.7, 0.3, -1.2, 17),
            _arc(-0.55, -0.15, 0.55, 0.08, 5),
            _arc(0.15, 0.55, 0.55, 0.08, 5),
            np.stack((np.zeros(4), np.linspace(0.4, 0.05, 4)), axis=1),
            _arc(-0.12, 0.12, -0.08, -0.05, 5),
            *(
                np.concatenate((_arc(x - eye, x + eye, 0.4, lid, 4), _arc(x + eye, x - eye, 0.4, -lid, 4)[1:3]))
                for x in (-0.35, 0.35)
            ),
            _arc(-0.28, 0.28, -0.45, lip, 7),
            _arc(0.28, -0.28, -0.45, -lip, 7)[1:6],
            _arc(-0.2, 0.2, -0.45, inner, 5),
            _arc(0.2, -0.2, -0.45, -inner, 5)[1:4],
        )
    )


def make_bfm_content(*, clockwise: bool = False, seed: int = 0) -> tuple[dict[str, dict | np.ndarray], Layout]:
    """Contents of the files, in file units and counted from 1, and their sizes.

    Args:
        clockwise: publish the triangles the other way round.
        seed: of modes, textures and the order of the vertices.
    """
    generator = np.random.default_rng(seed)
    vertices, triangles = _sheet()
    front = len(vertices)
    layout = Layout(
        full_vertices=front + UNUSED_TRIMMED + UNUSED_FULL,
        trimmed_vertices=front + UNUSED_TRIMMED,
        front_vertices=front,
        triangles=len(triangles),
        shape_modes=83,
        expression_modes=66,
    )
    idx = generator.permutation(layout.trimmed_vertices)[:front]
    trim = generator.permutation(layout.full_vertices)[: layout.trimmed_vertices]
    head = generator.uniform(-1, 1, (layout.full_vertices, 3))
    head[trim[idx]] = vertices + SHIFT
    keypoints = np.linalg.norm(vertices[None, :, :2] - _landmark_positions()[:, None], axis=2).argmin(axis=1)

    def modes(rows: int, count: int) -> np.ndarray:
        return generator.standard_normal((rows, count)).astype(np.float32)

    values = 3 * layout.full_vertices
    model = {
        "shapeMU": (head.reshape(-1, 1) * 1e5).astype(np.float32),
        "shapePC": modes(values, layout.shape_modes),
        "shapeEV": generator.uniform(500, 1500, (layout.shape_modes, 1)).astype(np.float32),
        "texMU": generator.uniform(60, 200, (values, 1)).astype(np.float32),
        "texPC": modes(values, layout.shape_modes),
        "texEV": generator.uniform(0.5, 2, (layout.shape_modes, 1)).astype(np.float32),
        "tl": np.ones((4, 3)),
    }
    info = {
        "tri": (triangles[:, ::-1] if clockwise else triangles) + 1,
        "keypoints": keypoints[None] + 1,
        "skinmask": np.ones((1, front)),
    }
    return {
        "bfm09": model,
        "exp_pca": modes(1 + layout.expression_modes, 3 * layout.trimmed_vertices),
        "exp_std": generator.uniform(500, 1500, layout.expression_modes),
        "bfm_front_idx": {"idx": idx[:, None] + 1},
        "bfm_exp_idx": {"trimIndex": trim[:, None].astype(np.uint16) + 1},
        "facemodel_info": info,
    }, layout


def write_bfm_files(folder: Path, content: dict[str, dict | np.ndarray]) -> dict[str, Path]:
    """Write the six files under their published names; returns their paths by asset name."""
    paths = {name: folder / file for name, file in FILE_NAMES.items()}
    for name, value in content.items():
        if isinstance(value, dict):
            savemat(paths[name], value)
    rows = content["exp_pca"].astype("<f4")
    paths["exp_pca"].write_bytes(np.array([len(rows) - 1], dtype="<i4").tobytes() + rows.tobytes())
    np.savetxt(paths["exp_std"], content["exp_std"][None])
    return paths
