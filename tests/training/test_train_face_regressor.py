"""Random studio people, and the commands that render them and learn from them, on a very small scale."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatalk_lib.core.artifacts import load_arrays
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.face3d.anny_data import ACTION_NAMES
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.reconstruction.dense_landmarks import choose_points, load_regressor, mean_template
from metatalk_lib.speech.synthesis import Phoneme
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.ground_truth import project_truth, true_control_vertices
from metatalk_lib.studio.random_people import perform_at_random, sample_extra
from training import render_faces
from training import train_face_regressor as train

SPOKEN = [((Phoneme("_", 0.0, 0.2), Phoneme("m", 0.2, 0.4), Phoneme("ɑː", 0.4, 0.8)), 0.8)]


@pytest.fixture(scope="module")
def people(tmp_path_factory) -> Path:
    """Two small people, two pictures each."""
    folder = tmp_path_factory.mktemp("people")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SIZE", 112), ("FACE_PX", 64.0), ("spoken_corpus", lambda: SPOKEN)):
            patch.setattr(render_faces, name, value)
        for seed in (0, 1):
            render_faces.render_person(folder / f"{seed:05d}.npz", seed, 2)
    return folder


def test_a_seed_makes_one_person_and_none_of_the_cast():
    first, again, other = (
        sample_extra(np.random.default_rng(seed), size=100, face_width_px=60.0) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other
    assert all(first.ancestry != member.ancestry for member in STUDIO_CHARACTERS.values())


def test_random_states_stay_within_what_a_face_can_do():
    states = perform_at_random(np.random.default_rng(4), SPOKEN, 200)
    assert states.actions.shape == (200, 52)
    assert states.actions.min() >= 0
    assert states.actions.max() <= 1.13
    names = list(ACTION_NAMES)
    jaw, close = (states.actions[:, names.index(name)] for name in ("jawOpen", "mouthClose"))
    assert (jaw > 0.1).mean() > 0.2
    assert (close <= jaw + 1.0).all()
    assert np.abs(states.rotation).max() <= 0.6
    assert (states.actions.sum(axis=1) < 1e-6).any() or (states.actions[:, names.index("jawOpen")] == 0).any()


def test_truth_lies_on_the_pictures(people):
    arrays = load_arrays(people / "00000.npz")
    assert len(arrays["jpeg_length"]) == len(arrays["actions"]) == 2
    image = cv2.imdecode(arrays["jpeg"][: arrays["jpeg_length"][0]], cv2.IMREAD_COLOR)
    assert image.shape == (112, 112, 3)
    model = load_face_model()
    vertices = true_control_vertices(arrays, model, slice(None))
    landmarks = project_truth(np.stack([model.landmark_matrix.numpy() @ frame for frame in vertices]), arrays)
    np.testing.assert_allclose(landmarks, arrays["landmarks"], atol=0.02)


def test_examples_show_the_points_where_they_are(people):
    model = load_face_model()
    points, template = choose_points(model), mean_template(model)
    faces = train.Faces(sorted(people.glob("*.npz")), model, points)
    face, mouth, target = train.make_example(faces, 0, points, template, None)
    assert face.shape == (128, 128, 3)
    assert mouth.shape == (128, 128, 3)
    assert np.abs(target).max() < 1.6
    np.testing.assert_allclose(target[points.landmark[48:]].mean(axis=0), 0, atol=0.02)
    one, same = (train.make_example(faces, 0, points, template, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(one[0], same[0])
    assert np.abs(one[2] - target).max() > 0.01


def test_a_short_training_leaves_loadable_weights_and_a_card(people, tmp_path, monkeypatch):
    command = ["train", "--faces", str(people), "--output", str(tmp_path), "--epochs", "1", "--processes", "1"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(train, "HELD_OUT_SHARE", 0.5)
    monkeypatch.setattr(train, "HELD_OUT_LEAST", 1)
    for library, name in ((train.torch, "set_num_threads"), (train.cv2, "setNumThreads")):
        monkeypatch.setattr(library, name, lambda count: None)
    train.main()
    network = load_regressor(tmp_path / "face_regressor_open.safetensors")
    assert network.face_points == choose_points(load_face_model()).face_count
    card = (tmp_path / "face_regressor_open.md").read_text("utf-8")
    assert "1 rendered people, 2 pictures" in card
    weights = tmp_path / "face_regressor_open.safetensors"
    later = ["--start", str(weights), "--output", str(tmp_path / "later"), "--seed", "5"]
    monkeypatch.setattr(sys, "argv", [*command, *later])
    train.main()
    card = (tmp_path / "later" / "face_regressor_open.md").read_text("utf-8")
    assert card.index("--epochs 1 --seed 0`, then") < card.index("--epochs 1 --seed 5 --start WEIGHTS_SO_FAR`")
    weights.with_suffix(".md").write_text("no commands", "utf-8")
    with pytest.raises(DataError, match="does not say how its weights were made"):
        train.main()
    load_regressor.cache_clear()


def test_two_processes_learn_together(people, tmp_path):
    for number in (2, 3):
        (people / f"{number:05d}.npz").write_bytes((people / "00001.npz").read_bytes())
    command = [sys.executable, "-m", "training.train_face_regressor", "--faces", str(people), "--epochs", "1"]
    command += ["--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=PROJECT_ROOT)
    assert done.returncode == 0, done.stderr
    assert "2 rendered people, 4 pictures" in done.stdout
    assert load_regressor(tmp_path / "face_regressor_open.safetensors").mouth_points > 60
    load_regressor.cache_clear()
