"""The AudioDVP baseline: compositing against the golden file, training and talking on a drawn character."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from metatalk_lib.baselines import audiodvp, timed_training
from metatalk_lib.baselines.timed_training import train_for
from metatalk_lib.core.artifacts import load_json, sha256_file
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.talk.character import load_character
from tests import drawn_character as drawn
from tests.reference import REFERENCE_DIR

GOLDEN = REFERENCE_DIR / "front_audiodvp_compositing.npz"
SETTINGS = audiodvp.AudioDVPSettings(width=4, depth=5, refine=True, steps=3, batch=2, learning_rate=2e-4, seed=0)


def test_compositing_reproduces_the_golden_values() -> None:
    rows, columns = np.mgrid[:96, :96]
    ellipse = ((columns - 48) / 30) ** 2 + ((rows - 52) / 24) ** 2 <= 1
    mask = cv2.dilate(ellipse.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=4) > 0
    paint = np.stack([2 * columns % 256, 2 * rows % 256, (columns + rows) % 256], axis=2).astype(np.uint8)
    finished = audiodvp.composite(255 - paint, paint, mask)
    # as soften_mask erodes, before it blurs
    eroded = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=audiodvp.ERODE_ITERATIONS)
    with np.load(GOLDEN) as golden:
        assert mask.sum() == golden["dilated_count"]
        assert eroded.sum() == golden["eroded_count"]
        np.testing.assert_allclose(audiodvp.soften_mask(mask)[52], golden["soft_row52"], atol=1e-6)
        np.testing.assert_array_equal(finished[52], golden["comp_row52"])
        assert finished.mean() == pytest.approx(float(golden["comp_mean"]))


def test_the_label_says_what_is_not_the_published_size() -> None:
    assert replace(SETTINGS, width=64, depth=8).label == "AudioDVP"
    assert replace(SETTINGS, width=64, depth=8, refine=False).label == "AudioDVP (not refined)"
    assert replace(SETTINGS, width=16, refine=False).label == "AudioDVP (quarter width, depth 5, not refined)"
    assert replace(SETTINGS, width=20, depth=8).label == "AudioDVP (width 20)"


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn.make_character(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def trained(character: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audiodvp")
    audiodvp.train(character, folder, SETTINGS)
    return folder


def test_training_never_sees_the_held_out_tail(trained: Path) -> None:
    history = load_json(trained / "history.json")
    assert history["renderer_frames"] == drawn.HELD_OUT
    # 40 frames give 39 public feature blocks, of which whole seconds are kept
    assert history["a2e"]["frames"] == 25
    assert history["label"] == "AudioDVP (width 4, depth 5)"
    assert not (trained / "pairs").exists()


def test_the_networks_are_audiodvps(trained: Path) -> None:
    assert audiodvp.load_a2e(trained / "a2e").architecture == "audiodvp"
    settings = audiodvp.load_renderer(trained / "renderer", load_face_model()).settings
    assert (settings.window, settings.in_channels, settings.size, settings.refine) == (7, 21, 256, True)


def test_training_again_gives_the_same_bytes(character: Path, trained: Path, tmp_path: Path) -> None:
    audiodvp.train(character, tmp_path, SETTINGS)
    for name in ("renderer/generator.safetensors", "a2e/a2e.safetensors"):
        assert sha256_file(tmp_path / name) == sha256_file(trained / name)


def test_pairs_are_cut_by_the_mask(character: Path, tmp_path: Path) -> None:
    coefficients = load_character(character).coefficients
    video = character / "01_crop" / "face_256.mp4"
    pairs = audiodvp.make_pairs(audiodvp.load_face_model(), coefficients, video, np.arange(3), SETTINGS, tmp_path)
    assert pairs.masks.any()
    assert not pairs.renders[~pairs.masks].any()
    assert not pairs.targets[~pairs.masks].any()
    assert np.abs(pairs.renders[pairs.masks].mean() - pairs.targets[pairs.masks].mean()) < 25


def test_talk_makes_a_video_of_the_sources_size_that_changes_only_the_crop(
    character: Path, trained: Path, tmp_path: Path
) -> None:
    output = audiodvp.talk_audiodvp(
        character, character.parent / "tail.wav", tmp_path / "talk.mp4", trained_dir=trained, start_frame=drawn.HELD_OUT
    )
    info = probe_video(output)
    assert (info.width, info.height, info.fps) == (drawn.WIDTH, drawn.HEIGHT, drawn.FPS)
    assert info.frame_count == drawn.FRAMES - drawn.HELD_OUT
    assert info.audio_rate == 16000
    source = load_character(character).source
    pairs = zip(read_frames(output), read_frames(source, drawn.HELD_OUT), strict=True)
    for frame, original in pairs:
        assert np.abs(frame[:, :18].astype(int) - original[:, :18]).mean() < 4
        lower = np.abs(frame[150:200, 110:190].astype(int) - original[150:200, 110:190]).mean()
    assert lower > 10, "three steps cannot have learned the face, so the mask must differ from the source"


def test_our_a2e_can_drive_the_small_renderer(character: Path, trained: Path, tmp_path: Path) -> None:
    tail = character.parent / "tail.wav"
    options = {"trained_dir": trained, "start_frame": 3}
    one = audiodvp.talk_audiodvp(character, tail, tmp_path / "one.mp4", a2e_dir=trained / "a2e", **options)
    other = audiodvp.talk_audiodvp(character, tail, tmp_path / "other.mp4", **options)
    assert sha256_file(one) == sha256_file(other)


def test_bad_input_is_refused(character: Path, trained: Path, tmp_path: Path) -> None:
    tail = character.parent / "tail.wav"
    with pytest.raises(ParameterError, match="start_frame is 99"):
        audiodvp.talk_audiodvp(character, tail, tmp_path / "x.mp4", trained_dir=trained, start_frame=99)
    with pytest.raises(DataError, match="does not exist"):
        audiodvp.talk_audiodvp(character, tail, tmp_path / "x.mp4", trained_dir=tmp_path)
    crop = character / "01_crop" / "crop.json"
    before = crop.read_bytes()
    try:
        crop.write_bytes(before.replace(b'"held_out_start": 40', b'"held_out_start": 10'))
        with pytest.raises(DataError, match="10 frames before the held-out tail"):
            audiodvp.train(character, tmp_path, SETTINGS)
    finally:
        crop.write_bytes(before)


class FakeTraining:
    """A training whose steps take the given times, s, one time a training; `asked` are the steps of each."""

    def __init__(self, times: list[float]):
        self.times, self.asked = iter(times), []

    def __call__(self, steps: int) -> tuple[str, dict[str, list]]:
        self.asked.append(steps)
        times = np.full(steps, next(self.times))
        if steps == timed_training.TRIAL_STEPS:
            times[:10] *= 3  # the first steps of a trial are slow
        ends = [*range(10, steps, 10), steps]
        return f"training {len(self.asked)}", {"step": ends, "seconds": np.cumsum(times)[np.array(ends) - 1].tolist()}


@pytest.mark.parametrize(
    ("times", "asked", "seconds"),
    [
        ([0.5, 0.51], [20, 100], 51),
        ([0.5, 0.25, 0.25], [20, 100, 200], 50),
        ([0.5, 0.25, 0.5, 0.25], [20, 100, 200, 100], 25),
    ],
    ids=["as the trial says", "faster than the trial", "never in time: the last stands"],
)
def test_a_training_takes_the_time_it_is_given(times, asked, seconds, tmp_path: Path):
    training, checkpoint, plan = FakeTraining(times), tmp_path / "checkpoint", tmp_path / "plan.json"
    checkpoint.touch()
    trained, history = train_for(50.0, training, checkpoint, plan, {"batch": 1})
    assert training.asked == asked
    assert (trained, history["step"][-1], history["seconds"][-1]) == (
        f"training {len(asked)}",
        asked[-1],
        pytest.approx(seconds),
    )
    assert not checkpoint.exists(), "what one training left is nothing for the next one"
    training = FakeTraining([0.5, 0.5])
    train_for(50.0, training, checkpoint, plan, {"batch": 1})
    assert training.asked[0] == asked[-1], "a training that was killed goes on with the steps that were planned"
    training = FakeTraining([0.5, 0.5])
    train_for(50.0, training, checkpoint, plan, {"batch": 2})
    assert training.asked == [20, 100], "the plan of other settings is none"


def test_training_can_go_by_time(character: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train(pairs, network, training, **options):
        asked.append(training.steps)
        renderer, history = trainer(pairs, network, training, **options)
        return renderer, {**history, "seconds": [0.25 * step for step in history["step"]]}

    trainer = audiodvp.train_renderer
    monkeypatch.setattr(audiodvp, "train_renderer", train)
    history = audiodvp.train(character, tmp_path, replace(SETTINGS, seconds=5.5))
    assert (history["renderer"]["step"][-1], history["renderer"]["seconds"][-1]) == (22, 5.5)
    assert asked == [timed_training.TRIAL_STEPS, 22]
    assert not (tmp_path / "plan.json").exists(), "another training plans its own steps"


def test_training_again_begins_anew(character: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def train(*arguments, checkpoint, steps, **options):
        assert not checkpoint.exists()
        return trainer(
            *arguments, checkpoint=checkpoint, steps=(done.append(step) or step for step in steps), **options
        )

    trainer = audiodvp.train_renderer
    monkeypatch.setattr(audiodvp, "train_renderer", train)
    for _ in range(2):
        audiodvp.train(character, tmp_path, SETTINGS)
    assert done == 2 * list(range(SETTINGS.steps))
