"""The commands that make the generator prior, on a very small scale; and the pose that the truth has in a crop."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.face3d.camera import project, transform
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.neural_renderer.training_pairs import open_pairs
from metatalk_lib.studio.ground_truth import project_truth, true_coefficients, true_control_vertices
from metatalk_lib.tracking.crop import CropTransform
from training import render_talkers, train_generator_prior
from training.people import split_jpegs


@pytest.fixture(scope="module")
def talkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three small people with ten pictures each."""
    folder = tmp_path_factory.mktemp("talkers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render_talkers, "CROP_SIZES", (256, 256, 256))
        for seed in (0, 1, 2):
            render_talkers.render_person(folder / f"{seed:05d}.npz", seed, 10)
    return folder


def test_a_talker_speaks_one_sentence_in_pictures(talkers: Path):
    arrays = load_arrays(talkers / "00000.npz")
    pictures = split_jpegs(arrays["jpeg"], arrays["jpeg_length"])
    size = int(arrays["size"])
    assert size % 16 == 0
    assert {picture.shape for picture in pictures} == {(size, size, 3)}
    assert np.ptp(arrays["mouth_opening_px"]) > 1


def test_true_coefficients_put_the_face_where_the_studio_shows_it(talkers: Path):
    model, truth = load_face_model(), load_arrays(talkers / "00001.npz")
    crop = CropTransform(12, 8, 180, 180)
    exact = true_coefficients(model, truth, crop)
    with torch.no_grad():
        base = model.compute_base(
            torch.from_numpy(exact.identity).expand(len(exact), -1), torch.from_numpy(exact.expression)
        )
        seen = project(
            transform(base, torch.from_numpy(exact.rotation), torch.from_numpy(exact.translation)), crop.size
        )
    wanted = crop.to_crop(project_truth(true_control_vertices(truth, model, slice(None)), truth))
    distance = np.linalg.norm(seen.numpy() - wanted, axis=-1)
    assert distance.mean() < 1.0
    np.testing.assert_allclose(exact.landmark_error_px, distance.mean(axis=1), atol=0.05)


def test_the_prior_is_trained_written_with_its_card_and_goes_on(talkers: Path, tmp_path: Path):
    command = [sys.executable, "-m", "training.train_generator_prior", "--talkers", str(talkers)]
    command += ["--steps", "2", "--held-out", "1", "--workers", "1", "--output", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert result.returncode == 0, result.stderr
    command[command.index("--held-out") + 1] = "3"
    refused = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT_ROOT)
    assert refused.returncode == 2
    assert "--held-out is 3; there are 3 people" in refused.stderr
    folder = talkers / "00000" / "pairs"
    pairs = open_pairs(folder)
    assert pairs.references.shape[:2] == (10, train_generator_prior.REFERENCES)
    written = (folder / "frames.npz").stat().st_mtime_ns, (folder / "references.npy").stat().st_mtime_ns
    train_generator_prior.prepare_person(talkers / "00000.npz", folder.parent)
    assert written == ((folder / "frames.npz").stat().st_mtime_ns, (folder / "references.npy").stat().st_mtime_ns)
    train_generator_prior.prepare_person(talkers / "00001.npz", folder.parent)
    assert open_pairs(folder).digest != pairs.digest, "pairs of another person were kept"
    card = (tmp_path / "generator_prior.md").read_text()
    assert "2 random studio people" in card
    assert card.count("| prior | 0.") == card.count("| mean of the references | 0.") == 1
    assert (tmp_path / "generator_prior.safetensors").stat().st_size < 15e6
