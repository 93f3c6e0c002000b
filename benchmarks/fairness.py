"""Are lips tracked alike on every skin, with and without a beard, with and without glasses?

    python -m benchmarks.fairness

The same three people are rendered in five skin tones, with and without a beard, with and without glasses: sixty
people, each in some moments of speech, with the true place of every lip point. The glasses are drawn over the picture,
since the studio has none. The error is the mean distance of the forty contour points from their true places. Every
group may have at most 1.3 times the error of the best group of its kind.
"""

import dataclasses
import itertools
import sys
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.report import Row, finish
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.reconstruction.gauss_newton import OUTER_EYE
from metatalk_lib.reconstruction.surface_points import surface_operator
from metatalk_lib.reconstruction.tracked_points import read_table
from metatalk_lib.speech.synthesis import synthesize
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.ground_truth import compute_truth, project_truth, true_control_vertices
from metatalk_lib.studio.performance import Performance
from metatalk_lib.studio.random_people import perform_at_random, sample_extra
from metatalk_lib.studio.scene import Pose, Scene
from metatalk_lib.tracking.face_detector import box_about
from metatalk_lib.tracking.face_points import INNER_CONTOUR, OUTER_CONTOUR
from metatalk_lib.tracking.landmark_predictor import LandmarkPredictor, load_landmark_predictor

PEOPLE, MOMENTS = 3, 6
MELANIN = (0.15, 0.3, 0.6, 1.1, 2.0)
"""Amounts of pigment, from the palest to the darkest skin that `random_people` draws."""
BEARD = 0.7
SIZE, FACE_PX = 512, 260.0
RATIO = 1.3
BLUR_PX = 6.0
SENTENCE = "The early boat to Pembroke moves away before five."


class Group(NamedTuple):
    """One person's looks."""

    tone: int
    is_bearded: bool
    has_glasses: bool


def measure_group(person: int, group: Group, model: FaceModel, predictor: LandmarkPredictor) -> tuple[float, float]:
    """Return the error of the lips' contours, % of the outer-eye distance, and that of a blurred mouth."""
    generator = np.random.default_rng([person, 4242])
    character = with_looks(sample_extra(generator, size=SIZE, face_width_px=FACE_PX), group)
    speech = synthesize(SENTENCE)
    performance = perform_at_random(generator, [(speech.phonemes, speech.duration_s)], MOMENTS)
    scene = Scene(character, 1.0, person)
    truth = compute_truth(scene, performance, model)
    vertices, _ = read_table(len(model.mirror))
    lips = [*OUTER_CONTOUR, *INNER_CONTOUR]
    matrix = surface_operator(model)[vertices[lips]]
    control = true_control_vertices(truth, model, np.arange(MOMENTS))
    places = np.stack([project_truth(matrix @ frame, truth) for frame in control])
    errors = []
    for row, image in enumerate(draw(scene, performance)):
        landmarks = truth["landmarks"][row]
        seen = draw_glasses(image, landmarks) if group.has_glasses else image
        eye_px = np.linalg.norm(landmarks[OUTER_EYE[0]] - landmarks[OUTER_EYE[1]])
        box = box_about(landmarks)
        shown = (seen, cv2.GaussianBlur(seen, (0, 0), BLUR_PX))
        found = [predictor.predict(picture, box).dense[lips, :2] for picture in shown]
        errors.append([np.linalg.norm(points - places[row], axis=1).mean() / eye_px for points in found])
    clear, blurred = 100 * np.mean(errors, axis=0)
    return float(clear), float(blurred)


def with_looks(character: StudioCharacter, group: Group) -> StudioCharacter:
    """Give a person the tone and the beard of a group; all else stays."""
    skin = dataclasses.replace(character.skin, melanin=MELANIN[group.tone], stubble=0.0)
    hair = dataclasses.replace(character.hair, beard=BEARD if group.is_bearded else 0.0)
    return dataclasses.replace(character, skin=skin, hair=hair)


def draw(scene: Scene, performance: Performance) -> list[np.ndarray]:
    """Render every moment."""
    moments = zip(*performance, strict=True)
    return [
        np.ascontiguousarray(scene.render(Pose(*state[:3], float(state[3])), number))
        for number, state in enumerate(moments)
    ]


def draw_glasses(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Draw a dark frame with slightly tinted glasses around the eyes, and its arms towards the ears."""
    drawn, tinted = image.copy(), image.copy()
    points = landmarks.astype(np.float64)
    unit = np.linalg.norm(points[OUTER_EYE[0]] - points[OUTER_EYE[1]])
    thick, colour = max(2, round(unit * 0.035)), (28, 24, 22)
    angle = np.degrees(np.arctan2(*(points[45] - points[36])[::-1]))
    centres = [points[36:42].mean(axis=0), points[42:48].mean(axis=0)]
    axes = (round(0.26 * unit), round(0.20 * unit))
    for centre, temple in zip(centres, (points[0], points[16]), strict=True):
        place = (int(centre[0]), int(centre[1] + 0.03 * unit))
        cv2.ellipse(tinted, place, axes, angle, 0, 360, (90, 95, 100), -1, cv2.LINE_AA)
        cv2.ellipse(drawn, place, axes, angle, 0, 360, colour, thick, cv2.LINE_AA)
        rim = centre + (temple - centre) / np.linalg.norm(temple - centre) * axes[0]
        cv2.line(drawn, tuple(rim.astype(int).tolist()), tuple(temple.astype(int).tolist()), colour, thick, cv2.LINE_AA)
    inner = [
        centre + sign * (points[45] - points[36]) / unit * axes[0]
        for centre, sign in zip(centres, (1, -1), strict=True)
    ]
    cv2.line(drawn, *(tuple(place.astype(int).tolist()) for place in inner), colour, thick, cv2.LINE_AA)
    return cv2.addWeighted(drawn, 0.85, tinted, 0.15, 0)


def rows_of(errors: dict[tuple[int, Group], tuple[float, float]]) -> list[Row]:
    """One row a group and kind: its error, and the error over that of the best group."""
    kinds = {
        "skin tone": lambda group: f"{group.tone + 1} of {len(MELANIN)}",
        "beard": lambda group: "bearded" if group.is_bearded else "shaven",
        "glasses": lambda group: "glasses" if group.has_glasses else "no glasses",
    }
    rows = [Row("renders with truth", len(errors) * MOMENTS, "", ">=", 60)]
    for kind, name_of in kinds.items():
        means: dict[str, list[float]] = {}
        for (_, group), (error, _) in errors.items():
            means.setdefault(name_of(group), []).append(error)
        best = min(float(np.mean(values)) for values in means.values())
        for name, values in sorted(means.items()):
            rows.append(Row(f"{kind}, {name}: lips' contours", float(np.mean(values)), "%", None, None))
            rows.append(Row(f"{kind}, {name}: over the best group", float(np.mean(values)) / best, "", "<=", RATIO))
    clear, blurred = np.mean(list(errors.values()), axis=0)
    rows.append(Row("all, blurred, over all (cheat)", float(blurred / clear), "", "<=", RATIO, True))
    return rows


def main() -> None:
    """Run the benchmark and exit with 1 when a bar is missed."""
    model, predictor = load_face_model(), load_landmark_predictor("mediapipe")
    groups = [Group(*looks) for looks in itertools.product(range(len(MELANIN)), (False, True), (False, True))]
    people = list(itertools.product(range(PEOPLE), groups))
    errors = {
        (person, group): measure_group(person, group, model, predictor)
        for person, group in track(people, "rendering and tracking", unit="person")
    }
    sys.exit(finish("fairness", rows_of(errors)))


if __name__ == "__main__":
    main()
