import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.face3d import camera, illumination
from metatalk_lib.face3d.coefficients import SLICES
from metatalk_lib.face3d.face_model import FaceModel
from metatalk_lib.networks.face_regressors import AudioDVPCoefficients
from metatalk_lib.reconstruction.coefficient_conventions import (
    AUDIODVP_FOCAL,
    AUDIODVP_SIDE_IN_CROPS,
    AUDIODVP_UNITS_PER_DM,
    DEEP3D_ORDER,
    audiodvp_to_crop,
    crop_to_audiodvp,
    crop_to_deep3d,
    deep3d_to_crop,
    from_audiodvp,
    from_deep3d,
    mirror_pose_and_light,
    published_frame,
    to_audiodvp,
    to_deep3d,
)
from tests.reference import REFERENCE_DIR
from tests.synthetic import make_face_arrays, make_face_model

REFERENCE = REFERENCE_DIR
CENTRE = np.array((0.03, -0.28, 0.71))
SIZE = 300  # of our crop; no number of either system


# ---------------------------------------------------- the published systems, written from their description in numpy


def _euler(angles: np.ndarray) -> np.ndarray:
    """(B, 3, 3) Rz Ry Rx."""
    matrices = []
    for a, b, c in angles:
        x = np.array(((1, 0, 0), (0, np.cos(a), -np.sin(a)), (0, np.sin(a), np.cos(a))))
        y = np.array(((np.cos(b), 0, np.sin(b)), (0, 1, 0), (-np.sin(b), 0, np.cos(b))))
        z = np.array(((np.cos(c), -np.sin(c), 0), (np.sin(c), np.cos(c), 0), (0, 0, 1)))
        matrices.append(z @ y @ x)
    return np.array(matrices)


def _harmonics(normals: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(normals, -1, 0)
    terms = (np.full_like(x, 0.886227), -1.772454 * y, 1.772454 * z, -1.772454 * x, 2.427032 * x * y)
    terms += (-2.427032 * y * z, 0.700624 * (3 * z * z - 1), -2.427032 * x * z, 1.213516 * (x * x - y * y))
    return np.stack(terms, axis=-1)


def _deep3d(vertices, normals, texture, gamma, angle, trans):
    """Points (u, v) of the 224 px picture, v upwards, and colours."""
    turn = _euler(angle).transpose(0, 2, 1)
    moved = vertices @ turn + trans[:, None]
    points = 1015 * moved[..., :2] / (10 - moved[..., 2:]) + 112
    light = gamma.reshape(-1, 3, 9).copy()
    light[:, :, 0] += 0.8
    return points, texture * (_harmonics(normals @ turn) @ light.transpose(0, 2, 1))


def _audiodvp(vertices, normals, texture, gamma, rotation, translation):
    """Points (x, y) of the 256 px picture and colours; vertices in its own unit."""
    turn = _euler(rotation).transpose(0, 2, 1)
    world = (vertices - translation[:, None]) @ turn
    clip = world[..., :2] * -1 / np.tan(np.radians(12.5))
    points = (clip / (8 - world[..., 2:]) + 1) * 128
    light = gamma.reshape(-1, 9, 3).copy()
    light[:, 0] += 0.7
    return points, texture * (_harmonics(normals @ turn) @ light)


@pytest.fixture(scope="module")
def draws():
    """The goldens' inputs in the order of their meta data; angles come first in both."""
    generator = torch.Generator().manual_seed(7)
    angles = torch.randn(2, 3, generator=generator) * 0.3
    trans = torch.randn(2, 3, generator=generator) * 0.2
    vertices = torch.randn(2, 6, 3, generator=generator) * 0.5
    normals = torch.nn.functional.normalize(torch.randn(2, 6, 3, generator=generator), dim=-1)
    texture = torch.rand(2, 6, 3, generator=generator)
    gamma = torch.randn(2, 27, generator=generator) * 0.2
    return vertices, normals, texture, gamma, angles, trans


def _load(name: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files if key != "meta"}


@pytest.fixture(scope="module")
def deep3d_golden():
    return _load("front_deep3d_geometry")


@pytest.fixture(scope="module")
def audiodvp_golden():
    return _load("front_audiodvp_geometry")


def _make_model(normals_sign: int = 1, centre=CENTRE) -> FaceModel:
    """The 30-vertex model as if it had been published with another centre and, perhaps, inward normals."""
    return FaceModel(
        {
            **make_face_arrays(),
            "published_centre": np.asarray(centre),
            "published_normals_sign": np.array(normals_sign),
        }
    )


@pytest.fixture(scope="module", params=[1, -1])
def model(request):
    return _make_model(request.param)


@pytest.fixture(scope="module")
def coefficients():
    """Three frames, double precision."""
    rows = 0.3 * torch.randn(3, 257, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    rows[:, SLICES["translation"]] += torch.tensor((0.2, -0.4, 0.6))
    return rows


def _ours(model, rows):
    """Our vertices, camera vertices, normals, texture, colours of the rows, all in double precision."""
    parts = {name: rows[:, part] for name, part in SLICES.items()}
    vertices = model.compute_vertices(parts["identity"].float(), parts["expression"].float())
    normals = model.compute_normals(vertices).double()
    vertices = vertices.double()
    texture = model.compute_texture(parts["texture"].float()).double()
    posed = camera.transform(vertices, parts["rotation"], parts["translation"])
    colors = illumination.compute_colors(texture, camera.rotate(normals, parts["rotation"]), parts["illumination"])
    return vertices.numpy(), posed, normals.numpy(), texture.numpy(), colors.numpy()


# ------------------------------------------------------------------------------ the descriptions against the goldens


def test_the_description_of_deep3d_is_the_golden(draws, deep3d_golden):
    points, colors = _deep3d(*(draw.double().numpy() for draw in draws))
    np.testing.assert_allclose(points, deep3d_golden["projection"], atol=1e-3)
    np.testing.assert_allclose(colors, deep3d_golden["color"], atol=1e-5)


def test_the_description_of_audiodvp_is_the_golden(draws, audiodvp_golden):
    points, colors = _audiodvp(*(draw.double().numpy() for draw in draws))
    np.testing.assert_allclose(points, audiodvp_golden["screen"], atol=1e-3)
    np.testing.assert_allclose(colors, audiodvp_golden["color"], atol=1e-5)


# ------------------------------------------------------------------------------------- our code against the goldens


def _assert_lit_as(expected: np.ndarray, texture, normals, rows) -> None:
    """Both ways to light a face give these colours; the compiled one clamps them."""
    light = rows[:, SLICES["illumination"]]
    np.testing.assert_allclose(illumination.compute_colors(texture, normals, light).numpy(), expected, atol=1e-5)
    for b in range(len(rows)):
        shaded = illumination.shade_vertices(texture[b].numpy(), normals[b].numpy(), light[b].numpy())
        np.testing.assert_allclose(shaded.colors, expected[b].clip(0, 1), atol=1e-5)


def test_our_light_and_pose_give_the_golden_of_audiodvp(draws, audiodvp_golden):
    vertices, normals, texture, gamma, rotation, translation = draws
    model = _make_model(centre=(0, 0, 0))
    parts = AudioDVPCoefficients(
        identity=torch.zeros(2, 80),
        expression=torch.zeros(2, 64),
        texture=torch.zeros(2, 80),
        illumination=gamma,
        rotation=rotation,
        translation=translation,
    )
    rows = from_audiodvp(parts, model)
    pose = rows[:, SLICES["rotation"]], rows[:, SLICES["translation"]]
    posed = camera.transform(vertices / AUDIODVP_UNITS_PER_DM, *pose)
    world = torch.from_numpy(audiodvp_golden["world"])
    torch.testing.assert_close(camera.depth(posed) * AUDIODVP_UNITS_PER_DM, 8 - world[..., 2], atol=1e-5, rtol=0)
    points = crop_to_audiodvp(camera.project(posed, SIZE), SIZE)
    np.testing.assert_allclose(points.numpy(), audiodvp_golden["screen"], atol=2e-3)
    _assert_lit_as(audiodvp_golden["color"], texture, camera.rotate(normals, pose[0]), rows)


def test_our_light_and_pose_give_the_golden_of_deep3d(draws, deep3d_golden):
    vertices, normals, texture, gamma, angle, trans = draws
    theirs = torch.cat((torch.zeros(2, 224), angle, gamma, trans), dim=1)
    rows = from_deep3d(theirs, _make_model())
    pose = rows[:, SLICES["rotation"]], rows[:, SLICES["translation"]]
    points = crop_to_deep3d(camera.project(camera.transform(vertices, *pose), 224))
    np.testing.assert_allclose(points.numpy(), deep3d_golden["projection"], atol=1e-3)
    _assert_lit_as(deep3d_golden["color"], texture, camera.rotate(normals, pose[0]), rows)


def test_the_camera_of_audiodvp_is_the_golden(audiodvp_golden):
    assert float(-audiodvp_golden["clip_space_transform"][0, 0]) == pytest.approx(2 * AUDIODVP_FOCAL, rel=1e-6)
    assert pytest.approx(2.009, abs=1e-3) == AUDIODVP_SIDE_IN_CROPS


# ----------------------------------------------------------------------------------------------- whole coefficients


def test_deep3d_orders_the_parts_as_its_heads():
    rows = torch.arange(257.0)[None]
    theirs = to_deep3d(rows, _make_model())[0]
    assert DEEP3D_ORDER[3:5] == ("rotation", "illumination")
    torch.testing.assert_close(theirs[:224], torch.arange(224.0))
    torch.testing.assert_close(theirs[224:227], torch.arange(251.0, 254.0))
    torch.testing.assert_close(theirs[227:254], torch.arange(224.0, 251.0))
    torch.testing.assert_close(theirs[254:], torch.arange(254.0, 257.0))


def test_conversions_and_their_inverses(model, coefficients):
    torch.testing.assert_close(from_deep3d(to_deep3d(coefficients, model), model), coefficients)
    torch.testing.assert_close(to_deep3d(from_deep3d(coefficients, model), model), coefficients)
    parts = to_audiodvp(coefficients, model)
    torch.testing.assert_close(from_audiodvp(parts, model), coefficients)
    again = to_audiodvp(from_audiodvp(parts, model), model)
    for name in parts._fields:
        torch.testing.assert_close(getattr(again, name), getattr(parts, name))
    assert parts.translation.dtype == torch.float64
    assert to_audiodvp(coefficients.float(), model).translation.dtype == torch.float32


def test_deep3d_draws_our_coefficients_as_we_do(model, coefficients):
    vertices, posed, normals, texture, colors = _ours(model, coefficients)
    theirs = to_deep3d(coefficients, model).numpy()
    gamma, angle, trans = theirs[:, 227:254], theirs[:, 224:227], theirs[:, 254:]
    points, their_colors = _deep3d(vertices, normals * model.published_normals_sign, texture, gamma, angle, trans)
    np.testing.assert_allclose(camera.project(posed, 224), deep3d_to_crop(torch.from_numpy(points)), atol=1e-6)
    np.testing.assert_allclose(colors, their_colors, atol=1e-5)


def test_audiodvp_draws_our_coefficients_as_we_do_but_mirrored_and_smaller(model, coefficients):
    vertices, posed, normals, texture, colors = _ours(model, coefficients)
    parts = to_audiodvp(coefficients, model)
    published = (vertices + model.published_centre.double().numpy()) * 1e5 / 92156.7
    gamma, rotation, translation = (
        getattr(parts, name).numpy() for name in ("illumination", "rotation", "translation")
    )
    points, their_colors = _audiodvp(
        published, normals * model.published_normals_sign, texture, gamma, rotation, translation
    )
    ours = camera.project(posed, SIZE)
    np.testing.assert_allclose(ours, audiodvp_to_crop(torch.from_numpy(points), SIZE), atol=1e-5)
    np.testing.assert_allclose(colors, their_colors, atol=1e-5)
    # mirrored: what is right of the centre in our picture is left in theirs, and half as far in units of the side
    side = (ours.numpy()[..., 0] + 0.5) / SIZE - 0.5
    np.testing.assert_allclose(side / AUDIODVP_SIDE_IN_CROPS, 0.5 - points[..., 0] / 256, atol=1e-6)


def test_audiodvp_parts_keep_the_modes_and_turn_the_light_over(coefficients):
    parts = to_audiodvp(coefficients, _make_model())
    for name in ("identity", "expression", "texture", "rotation"):
        torch.testing.assert_close(getattr(parts, name), coefficients[:, SLICES[name]])
    light = coefficients[:, SLICES["illumination"]].reshape(-1, 3, 9)
    for term in range(9):
        for colour in range(3):
            expected = light[:, colour, term] + (0.1 if term == 0 else 0.0)
            torch.testing.assert_close(parts.illumination[:, 3 * term + colour], expected)


def test_pixels_there_and_back():
    points = torch.tensor([[0.0, 0.0], [128.0, 128.0], [30.5, 200.25]], dtype=torch.float64)
    torch.testing.assert_close(crop_to_deep3d(deep3d_to_crop(points)), points)
    torch.testing.assert_close(crop_to_audiodvp(audiodvp_to_crop(points, SIZE), SIZE), points)
    centre = torch.tensor([(SIZE - 1) / 2] * 2, dtype=torch.float64)
    torch.testing.assert_close(audiodvp_to_crop(points[1], SIZE), centre)
    torch.testing.assert_close(deep3d_to_crop(torch.tensor([112.0, 112.0])), torch.tensor([111.5, 111.5]))


def test_the_flipped_picture_has_the_mirrored_pose_and_light(model, coefficients):
    vertices, posed, normals, texture, colors = _ours(model, coefficients)
    flipped = mirror_pose_and_light(coefficients)
    torch.testing.assert_close(flipped[:, : SLICES["texture"].stop], coefficients[:, : SLICES["texture"].stop])
    reflect = torch.tensor((-1.0, 1.0, 1.0), dtype=torch.float64)
    pose = flipped[:, SLICES["rotation"]], flipped[:, SLICES["translation"]]
    points = camera.project(camera.transform(torch.from_numpy(vertices) * reflect, *pose), SIZE)
    expected = camera.project(posed, SIZE)
    torch.testing.assert_close(points[..., 0], SIZE - 1 - expected[..., 0])
    torch.testing.assert_close(points[..., 1], expected[..., 1])
    turned = camera.rotate(torch.from_numpy(normals) * reflect, pose[0])
    light = flipped[:, SLICES["illumination"]]
    np.testing.assert_allclose(illumination.compute_colors(torch.from_numpy(texture), turned, light), colors, atol=1e-6)
    torch.testing.assert_close(mirror_pose_and_light(flipped), coefficients)


def test_conversions_are_differentiable():
    model = _make_model(-1).double()
    rows = torch.randn(2, 257, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: to_audiodvp(x, model)[3:], (rows,), fast_mode=True)
    assert torch.autograd.gradcheck(lambda x: from_audiodvp(to_audiodvp(x, model), model), (rows,), fast_mode=True)


@pytest.mark.parametrize("convert", [to_deep3d, from_deep3d, to_audiodvp])
def test_the_open_model_has_no_other_conventions(convert):
    with pytest.raises(ParameterError, match="no other conventions: its modes are not those of the Basel Face Model"):
        convert(torch.zeros(1, 257), make_face_model())


def test_audiodvp_coefficients_of_the_open_model_are_refused():
    parts = to_audiodvp(torch.zeros(1, 257), _make_model())
    with pytest.raises(ParameterError, match="no other conventions"):
        from_audiodvp(parts, make_face_model())
    assert published_frame(_make_model(-1)).normals_sign == -1
