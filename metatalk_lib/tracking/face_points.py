"""Points of one face in one picture: the 68 landmarks that every stage reads, and what MediaPipe's detector gives more.

The 68 are in the iBUG order: jaw 0-16 from the picture's left ear, brows 17-26, nose 27-35, eyes 36-47, outer lip
48-59, inner lip 60-67. The 478 are in the order of MediaPipe's Face Mesh, the last ten on the irises.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

# each of the 68 as the mean of some of the 478; chosen so that they agree with dlib's on the clips of real people
_IN_DENSE = (
    (127,), (234,), (93,), (132, 58), (58, 172), (136,), (149, 150), (148, 176), (152,),
    (377, 400), (378, 379), (365,), (288, 397), (288, 361), (323,), (454,), (356,),
    (70,), (63,), (66, 105), (66, 107), (55, 107), (285, 336), (296, 336), (296, 334), (293,), (300,),
    (6, 168), (197,), (5, 195), (4, 5), (75,), (97,), (2,), (326,), (305,),
    (33,), (160,), (158,), (133,), (153,), (144,), (362,), (385,), (387,), (263,), (373,), (380,),
    (61,), (39, 40), (37,), (0,), (267,), (269, 270), (291,), (321, 405), (314,), (17,), (84,), (91, 181),
    (78,), (81, 82), (13,), (311, 312), (308,), (317, 402), (14,), (87, 178),
)  # fmt: skip

OUTER_CONTOUR = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
"""Points of the closed outer contour of the lips among the 478, from the corner on the picture's left over the top."""
INNER_CONTOUR = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""Points of the closed inner contour, in the same order."""
LIP_RINGS = (
    OUTER_CONTOUR,
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 307, 320, 404, 315, 16, 85, 180, 90, 77),
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292, 325, 319, 403, 316, 15, 86, 179, 89, 96),
    INNER_CONTOUR,
)
"""Four closed lines on the lips, from the outer to the inner contour, each in the order of these."""
IRISES = slice(468, 478)
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152,
    148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
"""Points of the face's outline, from the forehead's middle towards the picture's right."""
LIDS = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (362, 398, 384, 385, 386, 387, 388, 466, 263, 249, 390, 373, 374, 380, 381, 382),
)
"""Points of the closed contours of both eyes."""


class FacePoints(NamedTuple):
    """Findings of a predictor on one face.

    Attributes:
        landmarks: the 68 landmarks, px of the picture.
        dense: MediaPipe's 478 points, x and y in px of the picture, z in the same unit towards the back of the head;
            None from other predictors.
        scores: MediaPipe's 52 blendshape scores, 0 to 1, in the order of `face_landmarker.BLENDSHAPES`; or None.
        confidence: certainty that there is a face, 0 to 1; 1 from predictors that cannot tell.
    """

    landmarks: Float32[np.ndarray, "68 2"]
    dense: Float32[np.ndarray, "478 3"] | None = None
    scores: Float32[np.ndarray, "52"] | None = None
    confidence: float = 1.0


def derive_landmarks(dense: Float[np.ndarray, "*T 478 C"]) -> Float[np.ndarray, "*T 68 2"]:
    """Derive the 68 landmarks from MediaPipe's 478 points: each is one of them or the middle of two neighbours."""
    first = [points[0] for points in _IN_DENSE]
    second = [points[-1] for points in _IN_DENSE]
    return (dense[..., first, :2] + dense[..., second, :2]) / 2


def contour_opening(dense: Float[np.ndarray, "*T L C"]) -> Float[np.ndarray, "*T"]:
    """Compute the mean gap of the inner contour's three middle pairs, px, from MediaPipe's points."""
    upper, lower = [82, 13, 312], [87, 14, 317]
    return np.asarray(np.linalg.norm(dense[..., upper, :2] - dense[..., lower, :2], axis=-1).mean(axis=-1))


def contour_width(dense: Float[np.ndarray, "*T L C"]) -> Float[np.ndarray, "*T"]:
    """Compute the distance of the mouth's corners, px, from MediaPipe's points."""
    left, right = OUTER_CONTOUR[0], OUTER_CONTOUR[10]
    return np.asarray(np.linalg.norm(dense[..., left, :2] - dense[..., right, :2], axis=-1))
