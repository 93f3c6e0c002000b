"""The choices that make a studio character: the person, the clothes, the light, the room and the camera."""

from dataclasses import dataclass, field

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class SkinLook:
    """Skin: amounts of pigment (0 to about 1) and of each painted detail (0 to 1)."""

    melanin: float
    haemoglobin: float = 0.35
    freckles: float = 0.0
    moles: int = 6
    wrinkles: float = 0.1
    stubble: float = 0.0
    pores: float = 0.6
    gloss: float = 0.5
    lip_colour: Colour = (0.46, 0.17, 0.15)
    lip_strength: float = 0.75


@dataclass(frozen=True)
class Hair:
    """Hair of head, brows, lashes and beard: colours as linear RGB, lengths in decimetres."""

    style: str = "short"
    colour: Colour = (0.06, 0.035, 0.02)
    grey: float = 0.0
    strands: int = 14000
    length: float = 0.5
    volume: float = 0.12
    wave: float = 0.02
    parting: float = 0.25
    brow_density: float = 1.0
    brow_colour: Colour = (0.05, 0.03, 0.02)
    lash_length: float = 0.085
    beard: float = 0.0


@dataclass(frozen=True)
class Light:
    """Directional lights in camera axes (towards the light) with linear colours, and a soft surrounding."""

    key_direction: tuple[float, float, float] = (-0.55, 0.45, 0.75)
    key: Colour = (2.2, 2.1, 2.0)
    fill_direction: tuple[float, float, float] = (0.8, 0.1, 0.6)
    fill: Colour = (0.35, 0.38, 0.45)
    rim_direction: tuple[float, float, float] = (0.7, 0.5, -0.6)
    rim: Colour = (0.9, 0.95, 1.1)
    sky: Colour = (0.55, 0.58, 0.65)
    ground: Colour = (0.25, 0.22, 0.2)


@dataclass(frozen=True)
class Clothes:
    """Clothes: a neckline, linear colours and a weave. `scarf` is the colour of a headscarf, or none."""

    neckline: str = "crew"
    colour: Colour = (0.1, 0.15, 0.25)
    second: Colour = (0.8, 0.8, 0.8)
    pattern: str = "plain"
    scarf: Colour | None = None


@dataclass(frozen=True)
class StudioCharacter:
    """One studio person with clothes, light, room and camera.

    `face_width_px` is the width of the head at the cheek bones in the unscaled picture; the adaptive crop is about 1.85
    times as wide. `speech_strength`, `speech_jaw` and `speech_lips` are this person's way of articulating.
    """

    name: str
    description: str
    width: int
    height: int
    fps: int
    face_width_px: float
    distance: float
    face_centre: tuple[float, float]
    ancestry: tuple[float, float, float]
    male: float
    age: float
    voice: str
    pitch: int
    speed_wpm: int
    muscle: float = 0.5
    weight: float = 0.5
    details: dict[str, float] = field(default_factory=dict)
    skin: SkinLook = field(default_factory=lambda: SkinLook(0.3))
    eye_colour: Colour = (0.05, 0.085, 0.13)
    hair: Hair = field(default_factory=Hair)
    light: Light = field(default_factory=Light)
    clothes: Clothes = field(default_factory=Clothes)
    background: str = "gradient"
    background_colours: tuple[Colour, Colour] = ((0.10, 0.12, 0.15), (0.28, 0.31, 0.35))
    grain: float = 0.006
    exposure: float = 0.6
    speech_strength: float = 1.0
    speech_jaw: float = 1.0
    speech_lips: float = 1.0
    motion: float = 1.0
