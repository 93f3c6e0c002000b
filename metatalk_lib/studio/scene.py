"""One character before the camera: all that stays the same in a video, and `render` for one pose."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.face3d import anny_data
from metatalk_lib.face3d.camera import DISTANCE
from metatalk_lib.studio import base_mesh, occlusion, strands
from metatalk_lib.studio.backdrop import paint_background
from metatalk_lib.studio.base_mesh import CAVITY, EYE_LEFT, EYE_RIGHT, PIVOT, TEETH_LOWER, TEETH_UPPER, TONGUE
from metatalk_lib.studio.body_mesh import build_figure, vertex_normals
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.hair import grow_strands
from metatalk_lib.studio.shading import shade_image
from metatalk_lib.studio.skin import paint_skin
from metatalk_lib.studio.surface import (
    Head,
    Layers,
    Lens,
    Materials,
    SampleBuffer,
    Surfaces,
    compute_surface_normals,
    project_surface,
    rasterize_surface,
)
from metatalk_lib.studio.tone_mapping import develop

_SAMPLES = 2  # samples a pixel along each axis
PATTERNS = {"plain": (0, 0.0), "stripes": (1, 46.0), "check": (2, 30.0), "knit": (3, 0.0)}
AMBIENT_DIRECTIONS, KEY_DIRECTIONS = 56, 20
KEY_RADIUS = 0.16  # rad: angular radius of the key light, which softens its shadows
JAW_OPEN = 0.35  # weight of the action jawOpen at which the light reaches into an open mouth in full
FACE_WIDTH = 1.42  # dm at the cheek bones of the base mesh


class Pose(NamedTuple):
    """One frame's state.

    Attributes:
        actions: (52,) weights of the facial actions.
        rotation: (3,) head rotation, Euler angles in radians as in docs/architecture.md.
        sway: (3,) shift of the head in dm.
        breath: -1 to 1, lifts the chest.
    """

    actions: Float[np.ndarray, "52"]
    rotation: Float[np.ndarray, "3"]
    sway: Float[np.ndarray, "3"]
    breath: float


def euler_matrix(rotation: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Rz Ry Rx of three angles in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(rotation), np.sin(rotation)
    turn_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return turn_z @ turn_y @ turn_x


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: col = cx + focal x / d, row = cy - focal y / d with d = 10 - z and v = person + shift."""

    width: int
    height: int
    focal_px: float
    principal_point_px: tuple[float, float]
    shift: tuple[float, float, float]


def place_camera(character: StudioCharacter, base: Float[np.ndarray, "V 3"], scale: float) -> Camera:
    """Choose focal length and shift so that the head has the wanted size and place; picture sides are even."""
    width, height = (max(2, round(side * scale / 2) * 2) for side in (character.width, character.height))
    scale = width / character.width
    cheeks = base[[5433, 7575]]
    centre = 0.5 * (base[136] + base[517])
    focal = character.face_width_px * scale * character.distance / abs(cheeks[1, 0] - cheeks[0, 0])
    z = DISTANCE - character.distance - (centre[2] - 0.3)
    depth = DISTANCE - (centre[2] + z)
    x = (character.face_centre[0] - 0.5) * width * depth / focal - centre[0]
    y = (0.5 - character.face_centre[1]) * height * depth / focal - centre[1]
    return Camera(width, height, float(focal), ((width - 1) / 2, (height - 1) / 2), (float(x), float(y), float(z)))


class Scene:
    """A character ready to be filmed; `render` may be called from several threads at once."""

    def __init__(self, character: StudioCharacter, scale: float, seed: int) -> None:
        self.character = character
        self.figure = build_figure(character)
        self.camera = place_camera(character, self.figure.base, scale)
        texture_resolution = int(np.clip(5.2 * character.face_width_px * scale, 600, 3000))
        self.skin = paint_skin(self.figure, character, texture_resolution, seed)
        self.background = paint_background(character, self.camera.width, self.camera.height, seed)
        self.normals = vertex_normals(self.figure.vertices, self.figure.triangles)
        self.strands = grow_strands(self.figure, self.normals, character, seed)
        self.lights = _lights(character)
        self.cloth = _cloth(character, character.clothes.colour)
        self.scarf = _cloth(character, character.clothes.scarf or (0.0, 0.0, 0.0))
        self.eye_colour = np.array(character.eye_colour, dtype=np.float32)
        self._bake()
        self.eye_vertices = [
            np.unique(self.figure.triangles[self.figure.part == part]) for part in (EYE_LEFT, EYE_RIGHT)
        ]
        self.grain = np.random.default_rng(seed + 7).normal(size=(256, 256)).astype(np.float32)

    def _bake(self) -> None:
        """Light that reaches each vertex, with the mouth closed and a little open."""
        figure = self.figure
        around = occlusion.spread_directions(AMBIENT_DIRECTIONS)
        key = occlusion.spread_cone(np.array(self.character.light.key_direction), KEY_RADIUS, KEY_DIRECTIONS)
        through_around = strands.transmittance(self.strands, figure.vertices, self.normals, around)
        through_key = strands.transmittance(self.strands, figure.vertices, self.normals, key)
        opened = figure.vertices + 0.35 * figure.actions[anny_data.ACTION_NAMES.index("jawOpen")]
        baked = []
        for vertices in (figure.vertices, opened):
            normals = vertex_normals(vertices, figure.triangles)
            common = (vertices, normals, figure.triangles, figure.clip)
            ambient = occlusion.gather_light(*common, around, through_around, weighted=True)
            direct = occlusion.gather_light(*common, key, through_key, weighted=False)
            baked.append((ambient, direct))
        inside = np.zeros(len(figure.vertices), dtype=bool)
        for part in (TEETH_UPPER, TEETH_LOWER, TONGUE, CAVITY):
            inside[np.unique(figure.triangles[figure.part == part])] = True
        skin_rim = np.zeros(len(figure.vertices), dtype=bool)
        skin_rim[np.unique(figure.triangles[figure.part == base_mesh.SKIN])] = True
        fade = mouth_fade(figure.template)
        only_inside = inside & ~skin_rim
        self.occlusion = [
            np.where(only_inside, fade, np.clip(ambient, 0.06, 1)).astype(np.float32) for ambient, _ in baked
        ]
        self.visible = [np.where(only_inside, 0.8 * fade, direct).astype(np.float32) for _, direct in baked]

    def pose_vertices(self, pose: Pose) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "3 3"]]:
        """Camera-space vertices and the head's rotation."""
        figure = self.figure
        active = np.flatnonzero(pose.actions)
        vertices = figure.vertices + np.tensordot(
            pose.actions[active].astype(np.float32), figure.actions[active], axes=1
        )
        rotation = euler_matrix(pose.rotation).astype(np.float32)
        turned = (vertices - PIVOT) @ rotation.T + PIVOT + pose.sway.astype(np.float32)
        weight = figure.head_weight[:, None]
        still = vertices + self._breathing(figure.template) * np.float32(pose.breath)
        return (turned * weight + still * (1 - weight) + np.array(self.camera.shift, np.float32)).astype(
            np.float32
        ), rotation

    @staticmethod
    def _breathing(template: np.ndarray) -> np.ndarray:
        lift = smooth_step(5.9, 5.0, template[:, 1])[:, None] * np.array([0.0, 0.018, 0.022])
        return lift.astype(np.float32)

    def render(self, pose: Pose, frame_id: int) -> UInt8[np.ndarray, "H W 3"]:
        """Draw one frame; the same pose and number always give the same picture."""
        camera = self.camera
        vertices, rotation = self.pose_vertices(pose)
        opening = float(np.clip(pose.actions[anny_data.ACTION_NAMES.index("jawOpen")] / JAW_OPEN, 0.0, 1.0))
        surfaces = self._pose_surfaces(vertices, opening)
        depth, cover = np.empty((2, camera.height, camera.width), dtype=np.float32)
        layers = Layers(np.zeros_like(self.background), self.background.copy(), cover, depth)
        shade_image(
            self._find_triangles(surfaces),
            surfaces,
            self._describe_materials(vertices, rotation, opening),
            self.lights,
            layers,
        )
        head = Head(rotation, PIVOT, pose.sway.astype(np.float32), np.array(camera.shift, dtype=np.float32))
        lens = Lens(*np.array([camera.focal_px, *camera.principal_point_px], dtype=np.float32))
        strands.draw(self.strands, vertices, head, lens, self.lights, layers)
        return develop(layers, self.grain, self.character, frame_id)

    def _pose_surfaces(self, vertices: Float[np.ndarray, "N 3"], opening: float) -> Surfaces:
        """The triangles of a pose, in the light of a mouth that is open by `opening` (0 to 1)."""
        figure, camera, count = self.figure, self.camera, len(vertices)
        normals = np.empty_like(vertices)
        screen, inverse = np.empty((count, 2), np.float32), np.empty(count, np.float32)
        compute_surface_normals(vertices, figure.triangles, normals)
        project_surface(vertices, camera.focal_px, *camera.principal_point_px, _SAMPLES, screen, inverse)
        return Surfaces(
            figure.triangles,
            figure.part,
            self.skin.coordinates,
            vertices,
            normals,
            rest=figure.template,
            screen=screen,
            inverse_depth=inverse,
            occlusion=self.occlusion[0] + np.float32(opening) * (self.occlusion[1] - self.occlusion[0]),
            visible=self.visible[0] + np.float32(opening) * (self.visible[1] - self.visible[0]),
        )

    def _find_triangles(self, surfaces: Surfaces) -> SampleBuffer:
        """The nearest triangle of every sample."""
        identifiers = np.empty((self.camera.height * _SAMPLES, self.camera.width * _SAMPLES), dtype=np.int32)
        nearness = np.empty(identifiers.shape, dtype=np.float32)
        rasterize_surface(
            surfaces.screen,
            surfaces.inverse_depth,
            surfaces.triangles,
            self.figure.clip,
            False,
            identifiers,
            nearness,
        )
        return SampleBuffer(identifiers, nearness, _SAMPLES)

    def _describe_materials(self, vertices: np.ndarray, rotation: np.ndarray, opening: float) -> Materials:
        return Materials(
            self.skin.texels,
            rotation,
            self._eyes(vertices),
            self.eye_colour,
            self.cloth,
            self.scarf,
            np.float32(0.55 + 0.45 * opening),
        )

    def _eyes(self, vertices: np.ndarray) -> Float[np.ndarray, "2 4 3"]:
        """Centre and axes over radius of both eyes, by the rotation that best turns the resting eyeball."""
        result = np.zeros((2, 4, 3), dtype=np.float32)
        for eye, chosen in enumerate(self.eye_vertices):
            rest, now = self.figure.vertices[chosen].astype(np.float64), vertices[chosen].astype(np.float64)
            centre = now.mean(axis=0)
            rest = rest - rest.mean(axis=0)
            u, _, vt = np.linalg.svd((now - centre).T @ rest)
            turn = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
            result[eye, 0] = centre
            result[eye, 1:] = turn.T / np.linalg.norm(rest, axis=1).mean()
        return result


def mouth_fade(template: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " N"]:
    """Light inside the mouth: falls off backwards, towards the corners and under the lips.

    The fade towards the corners hides the ends of the rows of teeth, which otherwise show as grey plates.
    """
    x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
    corners = smooth_step(0.20, 0.08, x)
    depth = smooth_step(1.05, 1.42, z)
    gums = smooth_step(0.16, 0.03, np.abs(y - 6.60))
    return (0.02 + 0.9 * corners * depth * (0.35 + 0.65 * gums)).astype(np.float32)


def _lights(character: StudioCharacter) -> Float[np.ndarray, "8 3"]:
    light = character.light
    rows = []
    for direction, colour in (
        (light.key_direction, light.key),
        (light.fill_direction, light.fill),
        (light.rim_direction, light.rim),
    ):
        rows += [np.array(direction) / np.linalg.norm(direction), np.array(colour)]
    return np.array([*rows, light.sky, light.ground], dtype=np.float32)


def _cloth(character: StudioCharacter, colour: tuple[float, float, float]) -> Float[np.ndarray, "3 3"]:
    number, scale = PATTERNS[character.clothes.pattern]
    return np.array([colour, character.clothes.second, (number, scale, 0.6)], dtype=np.float32)
