"""The neural face renderer at a tiny scale: learning, determinism, resuming to the same bytes, files, refusals."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import load_file

from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.neural_renderer import training as renderer_training
from metatalk_lib.neural_renderer.drawing import no_references
from metatalk_lib.neural_renderer.generator import (
    NeuralRenderer,
    RendererSettings,
    build_generator,
    load_renderer,
    reduce_renderer,
    save_renderer,
    starting_weights,
)
from metatalk_lib.neural_renderer.lower_face_region import Roi
from metatalk_lib.neural_renderer.reference_bank import ReferenceBank
from metatalk_lib.neural_renderer.sampling import Batches, TrainingSettings, sample_rows
from metatalk_lib.neural_renderer.training import summarise_history, train_renderer
from metatalk_lib.neural_renderer.training_pairs import RendererPairs
from tests.synthetic import make_coefficients, make_face_model

ROI = Roi(8, 16, 48, 48)
MODEL = RendererSettings(window=3, width=4, depth=3, refine=False, size=64, roi=ROI)
TRAINING = TrainingSettings(
    steps=8,
    batch=2,
    learning_rate=2e-3,
    gan_weight=0.01,
    gan_start=0.25,
    gan_width=4,
    checkpoint_steps=2,
    seed=3,
)


def make_pairs(frames: int = 6) -> RendererPairs:
    """The brightness of the synthetic mouth decides the colour of the real one."""
    random = np.random.default_rng(1)
    level = random.integers(30, 220, frames)
    masks = np.zeros((frames, 32, 40), bool)
    masks[:, 8:24, 8:32] = True
    renders = (masks[..., None] * level[:, None, None, None]).astype(np.uint8).repeat(3, axis=3)
    targets = np.full((frames, 32, 40, 3), 90, np.uint8)
    targets[masks] = np.stack([255 - level, level, level], axis=1).astype(np.uint8).repeat(masks[0].sum(), axis=0)
    valid = np.ones(frames, bool)
    return RendererPairs(np.arange(frames), renders, masks, targets, no_references(targets), valid, ROI, 64)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(renderer) -> dict[str, torch.Tensor]:
    return renderer.network.state_dict()


def assert_equal_weights(one, other):
    assert all(torch.equal(value, weights(other)[key]) for key, value in weights(one).items())


def assert_equal_checkpoints(one: Path, other: Path) -> None:
    """All that the next step depends on, and the losses; the times that the steps took may differ."""
    kept, wanted = load_file(one), load_file(other)
    assert kept.keys() == wanted.keys()
    assert all(torch.equal(kept[name], wanted[name]) for name in kept)
    states = []
    for path in (one, other):
        with safe_open(path, "pt") as file:
            states.append(json.loads(file.metadata()["state"]) | {"seconds": None})
    assert states[0] == states[1]


def test_it_learns_to_follow_the_synthetic_face(tmp_path: Path):
    pairs = make_pairs()
    training = dataclasses.replace(TRAINING, steps=150, checkpoint_steps=150, gan_weight=0.0)
    renderer, history = train_renderer(pairs, MODEL, training, checkpoint=tmp_path / "c.safetensors")
    assert history["reconstruction"][-1] < 0.25 * history["reconstruction"][0]
    assert history["step"][-1] == 150
    rows = list(range(6))
    painted = renderer.paint(pairs.condition(rows, 3, 0))
    error = np.abs(painted.astype(float) - pairs.targets)[pairs.masks].mean()
    assert error < 20
    swapped = rows[::-1]
    windows, known = pairs.windows(swapped, 3)
    other = renderer.paint(pairs.condition(rows, 3, 0)._replace(windows=windows, known=known))
    assert np.abs(other.astype(float) - pairs.targets)[pairs.masks].mean() > 1.5 * error


def test_the_targets_own_mouth_does_not_reach_the_output(tmp_path: Path):
    pairs = make_pairs()
    renderer, _ = train_renderer(pairs, MODEL, TRAINING, checkpoint=tmp_path / "c.safetensors")
    vandalised = pairs.targets.copy()
    vandalised[pairs.masks] ^= 255
    given = pairs.condition([0, 3], 3, 0)
    assert np.array_equal(renderer.paint(given), renderer.paint(given._replace(images=vandalised[[0, 3]])))


@pytest.mark.parametrize("refine", [False, True])
def test_a_killed_training_ends_with_the_same_weights(tmp_path: Path, refine: bool):
    pairs, model = make_pairs(), dataclasses.replace(MODEL, refine=refine)
    whole, history = train_renderer(pairs, model, TRAINING, checkpoint=tmp_path / "whole.safetensors")
    again, _ = train_renderer(pairs, model, TRAINING, checkpoint=tmp_path / "again.safetensors")
    assert_equal_weights(whole, again)

    class KilledError(Exception):
        pass

    def killed_at(step: int):
        yield from range(step)
        raise KilledError

    path = tmp_path / "killed.safetensors"
    with pytest.raises(KilledError):
        train_renderer(pairs, model, TRAINING, checkpoint=path, steps=killed_at(5))
    torch.rand(7)
    resumed, resumed_history = train_renderer(pairs, model, TRAINING, checkpoint=path)
    assert_equal_weights(whole, resumed)
    assert {**history, "seconds": None} == {**resumed_history, "seconds": None}
    assert_equal_checkpoints(path, tmp_path / "whole.safetensors")


def test_the_time_of_a_killed_training_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed() -> Iterator[int]:
        yield from range(5)
        raise KeyboardInterrupt

    path = tmp_path / "c.safetensors"
    monkeypatch.setattr(renderer_training.time, "perf_counter", itertools.count(step=2.0).__next__)
    with pytest.raises(KeyboardInterrupt):
        train_renderer(make_pairs(), MODEL, TRAINING, checkpoint=path, steps=killed())
    _, history = train_renderer(make_pairs(), MODEL, TRAINING, checkpoint=path)
    assert history["seconds"][-1] == 2.0 * TRAINING.steps


def test_a_checkpoint_of_another_training_is_not_taken_up(tmp_path: Path):
    pairs, path = make_pairs(), tmp_path / "c.safetensors"
    train_renderer(pairs, MODEL, dataclasses.replace(TRAINING, seed=9), checkpoint=path)
    resumed, _ = train_renderer(pairs, MODEL, TRAINING, checkpoint=path)
    fresh, _ = train_renderer(pairs, MODEL, TRAINING, checkpoint=tmp_path / "fresh.safetensors")
    assert_equal_weights(resumed, fresh)


def test_a_damaged_checkpoint_is_named(tmp_path: Path):
    path = tmp_path / "c.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match=r"c\.safetensors cannot be read"):
        train_renderer(make_pairs(), MODEL, TRAINING, checkpoint=path)


def test_files_round_trip_to_the_same_bytes(tmp_path: Path):
    pairs = make_pairs()
    renderer, history = train_renderer(pairs, MODEL, TRAINING, checkpoint=tmp_path / "c.safetensors")
    save_renderer(renderer, tmp_path, history)
    assert load_json(tmp_path / "history.json") == history
    loaded = load_renderer(tmp_path, make_face_model())
    assert loaded.settings == MODEL
    given = pairs.condition([2], 3, 0)
    assert np.array_equal(loaded.paint(given), renderer.paint(given))
    before = (tmp_path / "generator.safetensors").read_bytes()
    save_renderer(loaded, tmp_path, history)
    assert (tmp_path / "generator.safetensors").read_bytes() == before


def test_missing_and_misfit_files_are_named(tmp_path: Path):
    with pytest.raises(DataError, match="renderer.json does not exist"):
        load_renderer(tmp_path, make_face_model())
    pairs = make_pairs()
    renderer, history = train_renderer(
        pairs, MODEL, dataclasses.replace(TRAINING, steps=1), checkpoint=tmp_path / "c.safetensors"
    )
    save_renderer(renderer, tmp_path, history)
    wider = dataclasses.replace(MODEL, width=8)
    save_renderer(dataclasses.replace(renderer, settings=wider), tmp_path, history)
    with pytest.raises(DataError, match="holds no usable renderer"):
        load_renderer(tmp_path, make_face_model())
    (tmp_path / "generator.safetensors").unlink()
    with pytest.raises(DataError, match="generator.safetensors does not exist"):
        load_renderer(tmp_path, make_face_model())


def test_bad_requests_are_refused(tmp_path: Path):
    pairs = make_pairs()
    with pytest.raises(ParameterError, match="must be odd"):
        dataclasses.replace(MODEL, window=4)
    none_valid = dataclasses.replace(pairs, valid=np.zeros(6, bool))
    with pytest.raises(ParameterError, match="0 valid frames"):
        train_renderer(none_valid, MODEL, TRAINING, checkpoint=tmp_path / "c.safetensors")
    elsewhere = dataclasses.replace(MODEL, roi=Roi(0, 0, 40, 32))
    with pytest.raises(ParameterError, match="Make both from the same crop"):
        train_renderer(pairs, elsewhere, TRAINING, checkpoint=tmp_path / "c.safetensors")
    wild = dataclasses.replace(TRAINING, learning_rate=1e30, steps=20)
    with pytest.raises(DataError, match="training diverged"):
        train_renderer(pairs, MODEL, wild, checkpoint=tmp_path / "d.safetensors")
    renderer, _ = train_renderer(
        pairs, MODEL, dataclasses.replace(TRAINING, steps=1), checkpoint=tmp_path / "e.safetensors"
    )
    with pytest.raises(ParameterError, match="this renderer takes 3 synthetic frames and 0 references"):
        renderer.paint(pairs.condition([0], 5, 0))


def test_the_discriminator_joins_late():
    assert not TRAINING.uses_adversary(1)
    assert TRAINING.uses_adversary(2)
    assert not dataclasses.replace(TRAINING, gan_weight=0.0).uses_adversary(7)
    long = dataclasses.replace(TRAINING, steps=1000)
    assert long.rate(0) == pytest.approx(1 / 20)
    assert long.rate(0, is_begun=True) == pytest.approx(1 / 8)
    assert long.rate(20) == pytest.approx(1, abs=0.01)
    assert long.rate(1000) == pytest.approx(0.02)


def test_an_epoch_takes_every_row_once():
    rows = [row for step in range(4) for row in sample_rows(4, step, 2, seed=3)]
    assert sorted(rows[:4]) == sorted(rows[4:]) == [0, 1, 2, 3]


def with_references(pairs: RendererPairs) -> RendererPairs:
    """Two references a frame: the target somewhat too dark, and noise."""
    random = np.random.default_rng(5)
    noise = random.integers(0, 256, pairs.targets.shape).astype(np.uint8)
    return dataclasses.replace(pairs, references=np.stack([pairs.targets - 8, noise], axis=1))


LENDING = dataclasses.replace(MODEL, window=1, references=2)
BY_PATCHES = dataclasses.replace(
    TRAINING, patch=24, edge_weight=0.5, detail_weight=0.5, feature_weight=1.0, gan_width=2
)


def test_with_references_it_learns_which_to_trust(tmp_path: Path):
    pairs = with_references(make_pairs())
    training = dataclasses.replace(BY_PATCHES, steps=120, learning_rate=5e-3, gan_weight=0.0)
    renderer, _ = train_renderer(pairs, LENDING, training, checkpoint=tmp_path / "c.safetensors")
    untrained = NeuralRenderer(build_generator(LENDING), LENDING)
    errors = [
        np.abs(each.paint(pairs.condition([0, 3], 1, 2)).astype(float) - pairs.targets[[0, 3]])[pairs.masks[[0, 3]]]
        for each in (renderer, untrained)
    ]
    assert errors[0].mean() < 0.3 * errors[1].mean()


@pytest.mark.parametrize(
    ("motion_weight", "precision"), [(0.0, "32-true"), (0.5, "32-true"), (0.5, "bf16-mixed")], ids=str
)
def test_a_killed_training_on_patches_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, motion_weight: float, precision: str
):
    """In the half precision of accelerators, too: every loss takes part, and no types are mixed up."""
    monkeypatch.setattr(renderer_training, "_make_fabric", lambda *_: Fabric(accelerator="cpu", precision=precision))
    pairs = with_references(make_pairs())
    training = dataclasses.replace(BY_PATCHES, motion_weight=motion_weight)
    whole, _ = train_renderer(pairs, LENDING, training, checkpoint=tmp_path / "whole.safetensors")
    path = tmp_path / "killed.safetensors"

    def killed():
        yield from range(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_renderer(pairs, LENDING, training, checkpoint=path, steps=killed())
    resumed, _ = train_renderer(pairs, LENDING, training, checkpoint=path)
    assert_equal_weights(whole, resumed)
    assert_equal_checkpoints(path, tmp_path / "whole.safetensors")


def test_a_checkpoint_is_written_in_time_however_slow_the_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(renderer_training, "CHECKPOINT_S", -1.0)
    training = dataclasses.replace(TRAINING, checkpoint_steps=1000)
    steps = []

    def watch(step: int, _: NeuralRenderer) -> None:
        steps.append((step, (tmp_path / "c.safetensors").exists()))

    train_renderer(make_pairs(), MODEL, training, checkpoint=tmp_path / "c.safetensors", watch=watch)
    assert steps == [(step, step > 0) for step in range(9)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator")
def test_an_accelerator_paints_as_the_processor_does(tmp_path: Path):
    pairs, device = with_references(make_pairs()), torch.device("cuda")
    training = dataclasses.replace(BY_PATCHES, steps=6)
    renderer, _ = train_renderer(pairs, LENDING, training, checkpoint=tmp_path / "c.safetensors", device=device)
    condition = pairs.condition([0, 1], LENDING.window, LENDING.references)
    there = renderer.paint(condition)
    renderer.network.cpu()
    np.testing.assert_allclose(there.astype(int), renderer.paint(condition).astype(int), atol=2)


def test_two_processes_share_the_batch(tmp_path: Path):
    pairs = with_references(make_pairs())
    training = dataclasses.replace(BY_PATCHES, gan_weight=0.01, gan_start=0.5, steps=3)
    together, history = train_renderer(
        pairs, LENDING, training, checkpoint=tmp_path / "two.safetensors", device=torch.device("cpu"), devices=2
    )
    alone, _ = train_renderer(pairs, LENDING, training, checkpoint=tmp_path / "one.safetensors")
    assert history["step"] == [3]
    # the mean of two halves' gradients is the whole batch's up to the masks' sizes
    begun = build_generator(LENDING, training.seed).state_dict()
    one, other = (
        torch.cat([(weights(each)[name] - begun[name]).flatten() for name in begun]) for each in (together, alone)
    )
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.9
    assert float(one.norm()) == pytest.approx(float(other.norm()), rel=0.1)
    with pytest.raises(ParameterError, match="3 devices must get equal parts"):
        train_renderer(pairs, LENDING, training, checkpoint=tmp_path / "x.safetensors", devices=3)
    with pytest.raises(ParameterError, match="cannot be watched"):
        train_renderer(pairs, LENDING, training, checkpoint=tmp_path / "x.safetensors", devices=2, watch=print)


def test_more_devices_than_there_are_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ParameterError, match="renderer_devices is 2; this machine has 1 of type cuda"):
        train_renderer(make_pairs(), MODEL, TRAINING, checkpoint=tmp_path / "x", device=torch.device("cuda"), devices=2)


def test_batches_are_a_function_of_the_step_and_hold_consecutive_frames_for_motion():
    pairs = with_references(make_pairs())
    moving = dataclasses.replace(BY_PATCHES, motion_weight=1.0, batch=4)
    batches = Batches([pairs], LENDING, moving)
    one, other = batches.draw(3), Batches([pairs], LENDING, moving).draw(3)
    assert all(np.array_equal(*both) for both in zip(one, other, strict=True))
    assert one.images.shape == (4, 24, 24, 3)
    levels = [int(image[mask].mean()) for image, mask in zip(pairs.renders, pairs.masks, strict=True)]
    seen = [levels.index(int(window[0][mask].mean())) for window, mask in zip(one.windows, one.masks, strict=True)]
    assert [seen[1] - seen[0], seen[3] - seen[2]] == [1, 1]
    assert np.array_equal(batches.draw(3, 1, 2).images, one.images[2:])
    with pytest.raises(ParameterError, match="must be even"):
        dataclasses.replace(moving, batch=3)
    with pytest.raises(ParameterError, match="renderer_patch is 24 px; 2 discriminators need at least 48"):
        dataclasses.replace(BY_PATCHES, gan_scales=2)


def test_many_people_are_trained_on_in_patches_only(tmp_path: Path):
    people = [with_references(make_pairs()), with_references(make_pairs())]
    people[1] = dataclasses.replace(people[1], **{
        name: getattr(people[1], name)[..., :32, :32, :] if name != "masks" else people[1].masks[:, :32, :32]
        for name in ("renders", "targets", "references", "masks")
    }, roi=Roi(8, 16, 40, 48))  # fmt: skip
    renderer, _ = train_renderer(people, LENDING, BY_PATCHES, checkpoint=tmp_path / "c.safetensors")
    assert np.isfinite(next(iter(weights(renderer).values()))).all()
    with pytest.raises(ParameterError, match="patches where the sizes differ"):
        train_renderer(people, LENDING, dataclasses.replace(BY_PATCHES, patch=0), checkpoint=tmp_path / "d.safetensors")


def test_the_prior_fits_the_defaults_and_no_other_shape():
    settings = RendererSettings.from_config(RendererConfig(), 512, Roi(0, 0, 256, 256))
    network = build_generator(settings)
    network.load_state_dict(starting_weights(settings, use_prior=True))
    assert network.exit.weight.abs().sum() > 0
    assert starting_weights(settings, use_prior=False) is None
    with pytest.raises(ParameterError, match="set renderer_prior to false"):
        starting_weights(dataclasses.replace(settings, references=2), use_prior=True)
    with pytest.raises(ParameterError, match="no refinement blocks"):
        dataclasses.replace(settings, refine=True)


def test_a_renderer_is_saved_with_its_bank_and_reduced_for_previews(tmp_path: Path):
    model, coefficients = make_face_model(), make_coefficients(4)
    images = np.random.default_rng(2).integers(0, 256, (4, 32, 40, 3)).astype(np.uint8)
    bank = ReferenceBank.build(model, coefficients, images, 64)
    renderer = NeuralRenderer(build_generator(LENDING), LENDING).with_bank(bank)
    save_renderer(renderer, tmp_path, {"step": [1]})
    loaded = load_renderer(tmp_path, model)
    assert np.array_equal(loaded.bank.images, images)
    half = reduce_renderer(loaded, model, 2)
    assert (half.settings.size, half.settings.roi.width % 8, half.settings.roi.height % 8) == (32, 0, 0)
    assert half.bank.images.shape[1:3] == (half.settings.roi.height, half.settings.roi.width)
    middle = np.abs(half.bank.images[0, 8:12, 8:12].astype(float).mean() - images[0].mean())
    assert middle < 40
    with pytest.raises(ParameterError, match="Leave out --preview"):
        reduce_renderer(loaded, model, 3)
    ReferenceBank.build(model, coefficients, images[:, :24], 64).save(tmp_path)
    with pytest.raises(DataError, match="frames of another rectangle"):
        load_renderer(tmp_path, model)
    bankless = NeuralRenderer(build_generator(MODEL), MODEL).with_bank(bank)
    assert bankless.bank is None
    save_renderer(bankless, tmp_path, {"step": [1]})
    assert not list(tmp_path.glob("references.*"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"renderer_patch": 100}, "renderer_patch is 100 px; with renderer_depth 4 it must be a multiple of 16"),
        ({"renderer_patch": 16, "renderer_depth": 4}, "1 discriminators need at least 24"),
        ({"renderer_batch": 3, "renderer_motion_weight": 1.0}, "renderer_batch must be even"),
        ({"renderer_depth": 6}, "renderer_depth is 6; with references it is at most 5"),
        ({"renderer_refine": True}, "renderer_refine: a renderer with references"),
        ({"renderer_window": 2}, "renderer_window must be odd"),
        ({"renderer_bank": 3}, "renderer_bank is 3; with renderer_references 3 it must be at least 4"),
    ],
)
def test_parameters_that_do_not_go_together_are_named(values: dict, text: str):
    def build(config: RendererConfig) -> None:
        RendererSettings.from_config(config, 512, Roi(0, 0, 256, 256))
        TrainingSettings.from_config(config)

    with pytest.raises(ParameterError, match=text):
        build(RendererConfig(**values))


def test_history_is_a_mean_of_groups():
    rows = [[float(step), 0.0, 0.0] for step in range(14)]
    history = summarise_history(rows, [0.5 * (step + 1) for step in range(14)])
    assert history["step"] == [10, 14]
    assert history["seconds"] == [5.0, 7.0]
    assert history["reconstruction"] == [4.5, 11.5]


def test_building_twice_gives_equal_weights():
    one, other = build_generator(MODEL, 5), build_generator(MODEL, 5)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
