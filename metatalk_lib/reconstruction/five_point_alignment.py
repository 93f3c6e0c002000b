"""Deep3DFaceRecon's five-point alignment: the 224 px picture that its network receives, and the inverse map of poses.

Pixel coordinates are ours throughout: (column, row), the centre of the top-left pixel is (0, 0). Deep3D's camera is
that of `camera` in a crop of 224 px, see docs/coordinate_frames.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from scipy.spatial.transform import Rotation

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.camera import DISTANCE, FOCAL
from metatalk_lib.networks.face_regressors import DEEP3D_INPUT_SIZE
from metatalk_lib.reconstruction.gauss_newton import project_landmarks

ALIGNED_SCALE = 102.0
"""Scale of the aligned picture, px per decimetre of the standard points."""
STANDARD_POINTS = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
"""Left eye, right eye, tip of the nose, left and right corner of the mouth as seen in the picture, dm in model space.

Source: Deep3DFaceRecon's similarity_Lm3D_all.mat.
"""
_LARGEST_ENLARGEMENT = 8.0
"""Largest permitted enlargement; a smaller face shows no detail, and its resized picture would fill the memory."""


class StandardFit(NamedTuple):
    """Position and scale of the standard points in pictures under a scaled orthographic camera.

    Attributes:
        origin: (T, 2) origin of the standard points, px from the left and px up from the bottom row.
        scale: (T,) px per decimetre.
    """

    origin: Float[np.ndarray, "T 2"]
    scale: Float[np.ndarray, " T"]


@dataclass(frozen=True)
class FaceAlignment:
    """A picture resized to `resized_width` × `resized_height`, and the square of 224 px cut out of it at (left, top).

    Attributes:
        width, height: size of the picture, px.
        resized_width, resized_height: size after resizing, px.
        left, top: first column and row of the square, px of the resized picture; it may extend beyond the picture.
    """

    width: int
    height: int
    resized_width: int
    resized_height: int
    left: int
    top: int

    @property
    def scale(self) -> Float[np.ndarray, "2"]:
        """Aligned px per picture px, by columns and by rows; they differ slightly, since both sizes are integers."""
        return np.array([self.resized_width / self.width, self.resized_height / self.height])

    def to_aligned(self, points: Float[np.ndarray, "*P 2"]) -> Float[np.ndarray, "*P 2"]:
        """Map picture px to px of the aligned square: x' = (x + 0.5) scale − 0.5 − left."""
        return (np.asarray(points, dtype=np.float64) + 0.5) * self.scale - 0.5 - (self.left, self.top)

    def to_picture(self, points: Float[np.ndarray, "*P 2"]) -> Float[np.ndarray, "*P 2"]:
        """Map px of the aligned square to picture px; the inverse of `to_aligned`."""
        return (np.asarray(points, dtype=np.float64) + 0.5 + (self.left, self.top)) / self.scale - 0.5

    def crop_image(self, image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "224 224 3"]:
        """Cut out the aligned picture: PIL's bicubic, smoothed if it shrinks; black beyond the picture.

        Raises:
            ParameterError: the picture's size differs from that of the alignment.
        """
        if image.shape[:2] != (self.height, self.width):
            raise ParameterError(
                f"five-point alignment of a {self.width} × {self.height} px picture, got one of "
                f"{image.shape[1]} × {image.shape[0]} px. Pass the picture that the landmarks belong to."
            )
        resized = Image.fromarray(image).resize((self.resized_width, self.resized_height), Image.Resampling.BICUBIC)
        square = (self.left, self.top, self.left + DEEP3D_INPUT_SIZE, self.top + DEEP3D_INPUT_SIZE)
        return np.array(resized.crop(square))


def five_points(landmarks: Float[np.ndarray, "*T 68 2"]) -> Float[np.ndarray, "*T 5 2"]:
    """Return eyes (mean of two corners), tip of the nose and corners of the mouth, left before right as seen."""
    eyes = [landmarks[..., [first, last], :].mean(axis=-2) for first, last in ((36, 39), (42, 45))]
    return np.stack([*eyes, *(landmarks[..., point, :] for point in (30, 48, 54))], axis=-2)


def fit_standard_points(points: Float[np.ndarray, "T 5 2"], height: int) -> StandardFit:
    """Fit the standard points X to points in pictures by least squares.

        x = R1 · X + origin_x,   height − 1 − row = R2 · X + origin_y,   scale = (|R1| + |R2|) / 2

    with eight free parameters; R1 and R2 need not be orthogonal.

    Args:
        points: five points (column, row), px.
        height: height of the pictures, px.

    Source: sicxu/Deep3DFaceRecon_pytorch util/preprocess.py (POS), after Jourabloo and Liu 2016.
    """
    upright = np.array(points, dtype=np.float64)
    upright[..., 1] = height - 1 - upright[..., 1]
    system = np.concatenate([STANDARD_POINTS, np.ones((5, 1))], axis=1)
    solution = np.linalg.pinv(system) @ upright
    return StandardFit(solution[:, 3], np.linalg.norm(solution[:, :3], axis=1).mean(axis=1))


def align_faces(landmarks: Float[np.ndarray, "T 68 2"], width: int, height: int) -> list[FaceAlignment]:
    """Align every frame: 102 px per decimetre, with the standard points' origin near the square's centre.

    Sizes and corners are truncated to integers as in the official code, so the origin is up to two px off.

    Args:
        landmarks: landmarks, px of the pictures.
        width: width of the pictures, px.
        height: height of the pictures, px.

    Raises:
        DataError: landmarks are not finite, or a face is too small.

    Source: sicxu/Deep3DFaceRecon_pytorch util/preprocess.py (align_img, resize_n_crop_img).
    """
    points = five_points(np.asarray(landmarks, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(points).all(axis=(1, 2)))
    if len(bad):
        raise DataError(
            f"five-point alignment: landmarks of {len(bad)} frames are not finite, the first at position {bad[0]}. "
            "Run 01_crop again."
        )
    fit = fit_standard_points(points, height)
    small = np.flatnonzero(fit.scale * _LARGEST_ENLARGEMENT < ALIGNED_SCALE)
    if len(small):
        raise DataError(
            f"five-point alignment: faces of {len(small)} frames are too small, the first at position {small[0]} with "
            f"{fit.scale[small[0]]:.1f} px a decimetre; at least {ALIGNED_SCALE / _LARGEST_ENLARGEMENT:.1f} are "
            "needed. Use a larger face."
        )
    return [_align(origin, ALIGNED_SCALE / scale, width, height) for origin, scale in zip(*fit, strict=True)]


def _align(origin: np.ndarray, scale: float, width: int, height: int) -> FaceAlignment:
    resized_width, resized_height = int(width * scale), int(height * scale)
    left = int(resized_width / 2 - DEEP3D_INPUT_SIZE / 2 + (origin[0] - width / 2) * scale)
    top = int(resized_height / 2 - DEEP3D_INPUT_SIZE / 2 + (height / 2 - origin[1]) * scale)
    return FaceAlignment(width, height, resized_width, resized_height, left, top)


class MovedPose(NamedTuple):
    """Poses in the camera of the whole crop.

    Attributes:
        rotation: (T, 3) rotation angles, radians.
        translation: (T, 3) translation, decimetres.
        residual_px: (T,) mean distance of the reference points from their positions in the aligned picture, px of the
            crop.
    """

    rotation: Float[np.ndarray, "T 3"]
    translation: Float[np.ndarray, "T 3"]
    residual_px: Float[np.ndarray, " T"]


def move_poses(
    rotation: Float[np.ndarray, "T 3"],
    translation: Float[np.ndarray, "T 3"],
    alignments: Sequence[FaceAlignment],
    points: Float[np.ndarray, "T L 3"],
) -> MovedPose:
    """Convert poses in aligned squares to poses in the camera of the crop from which the squares were cut.

    Another scale and another optical axis change the perspective, so no pose reproduces the picture exactly. The
    rotation M' = Q M shows the face from the same side: Q is the smallest rotation that maps the line of sight to the
    reference points in the square's camera to that in the crop's camera. The translation then solves

        (M' X + t')_x = a (DISTANCE − (M' X + t')_z),   (M' X + t')_y = b (DISTANCE − (M' X + t')_z)

    for all reference points X by least squares, linear in t', with (a, b) the slopes at which the crop sees the points.
    The remaining error is the difference of perspective: about 0.1 % of the crop's side on average and 0.6 % at the
    worst landmark for a crop of 1.4 aligned squares. Light keeps its coefficients, although Q rotates the normals by
    about a degree.

    Args:
        rotation: rotation angles from the network, radians.
        translation: translation from the network, decimetres.
        alignments: alignments of every frame; their pictures are the square crop.
        points: reference points in model space, dm: the face model's landmarks, or `STANDARD_POINTS` in every frame.

    Raises:
        ParameterError: lengths disagree, or the pictures are not squares of one size.

    Source: Original to this project.
    """
    count = len(rotation)
    sides = {side for alignment in alignments for side in (alignment.width, alignment.height)}
    if len(translation) != count or len(alignments) != count or len(points) != count:
        raise ParameterError(
            f"move_poses: {count} rotations, {len(translation)} translations, {len(alignments)} alignments and "
            f"{len(points)} sets of points. Pass the same frames to each."
        )
    if len(sides) > 1:
        raise ParameterError(f"move_poses: the pictures' sides are {sorted(sides)} px; they must be one square crop.")
    if count == 0:
        return MovedPose(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))
    size = sides.pop()
    points = np.asarray(points, dtype=np.float64)
    pose = np.concatenate([rotation, translation], axis=1).astype(np.float64)
    aligned = project_landmarks(points, pose, DEEP3D_INPUT_SIZE)
    seen = np.stack([alignment.to_picture(part) for alignment, part in zip(alignments, aligned, strict=True)])
    slopes = _slopes(seen, size)
    turn = _smallest_turn(_sight(_slopes(aligned, DEEP3D_INPUT_SIZE)), _sight(slopes))
    turned = turn * Rotation.from_euler("xyz", pose[:, :3])
    moved = np.concatenate([turned.as_euler("xyz"), _solve_translation(turned, points, slopes)], axis=1)
    residual = np.linalg.norm(project_landmarks(points, moved, size) - seen, axis=-1).mean(axis=1)
    return MovedPose(moved[:, :3], moved[:, 3:], residual)


def _slopes(pixels: Float[np.ndarray, "T L 2"], size: int) -> Float[np.ndarray, "T L 2"]:
    """Compute the slopes (x / depth, y / depth) of pixels in the camera of a crop of side `size`."""
    return (pixels - (size - 1) / 2) * (1, -1) / (FOCAL * size)


def _sight(slopes: Float[np.ndarray, "T L 2"]) -> Float[np.ndarray, "T 3"]:
    """Return the line of sight to the centre of the points, in camera space."""
    return np.concatenate([slopes.mean(axis=1), -np.ones((len(slopes), 1))], axis=1)


def _smallest_turn(source: Float[np.ndarray, "T 3"], target: Float[np.ndarray, "T 3"]) -> Rotation:
    """Compute the smallest rotations that map directions to others less than a right angle away."""
    source, target = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in (source, target))
    # the quaternion (cross, 1 + dot) needs no axis, which is undefined for equal directions
    scalar = 1 + (source * target).sum(axis=1, keepdims=True)
    return Rotation.from_quat(np.concatenate([np.cross(source, target), scalar], axis=1))


def _solve_translation(
    rotation: Rotation, points: Float[np.ndarray, "T L 3"], slopes: Float[np.ndarray, "T L 2"]
) -> Float[np.ndarray, "T 3"]:
    """Solve t_x + a t_z = a (DISTANCE − z) − x and t_y + b t_z = b (DISTANCE − z) − y by least squares."""
    turned = points @ rotation.as_matrix().transpose(0, 2, 1)
    right = slopes * (DISTANCE - turned[..., 2:]) - turned[..., :2]
    system = np.zeros((*slopes.shape, 3))
    system[..., 0, 0] = system[..., 1, 1] = 1
    system[..., 2] = slopes
    system, right = system.reshape(len(points), -1, 3), right.reshape(len(points), -1, 1)
    normal = system.transpose(0, 2, 1)
    return np.linalg.solve(normal @ system, normal @ right)[..., 0]
