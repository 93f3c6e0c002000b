"""Every usable video walks: what stage 01 accepts, later stages finish; anything else ends in one line of advice."""

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib import media, reconstruction, tracking
from metatalk_lib.audio_to_expression.model import predict_expression
from metatalk_lib.baselines.audiodvp import MIN_TRAINING_FRAMES, train_own_speech
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import MetaTalkError
from metatalk_lib.core.stage import load_summary
from metatalk_lib.core.stage_configs import CropConfig
from metatalk_lib.evaluation.controls import order_controls
from metatalk_lib.evaluation.held_out import load_held_out
from metatalk_lib.face3d import Coefficients, load_face_model
from metatalk_lib.media.audio import frame_count_for, open_audio
from metatalk_lib.pseudo_video import PSEUDO_SIZE, measure_lead
from metatalk_lib.reconstruction.landmark_fit import FitSettings
from metatalk_lib.talk.character import load_character
from metatalk_lib.tracking.landmark_predictor import LandmarkPredictor
from metatalk_lib.tracking.preflight import Preflight
from tests.face_clips import real_clip
from tests.test_cli import assert_one_line_error, metatalk
from tests.walk_inputs import INPUTS, REFUSALS, WALKS, WORST, Input

DEFAULTS = CropConfig(character="A")
FITTED = ("12 frames per second", "a still picture", "a mouth hidden throughout")
"""Inputs that are also fitted, which takes some seconds each."""


@lru_cache(maxsize=1)
def load_predictors() -> tuple[LandmarkPredictor, LandmarkPredictor]:
    """One for the tracker, one for the sampler, which looks at the same time."""
    one, other = (tracking.load_landmark_predictor(DEFAULTS.landmark_detector) for _ in range(2))
    return one, other


def crop_clip(video: Path, person: Path, face_position: str) -> Preflight:
    """The steps of notebook 01, with its defaults."""
    folder = person / "01_crop"
    info, recorded = media.probe_video(video), media.read_audio(video)
    speech = media.end_with_picture(recorded, info.frame_count, info.fps)
    held_out = tracking.held_out_start(info, DEFAULTS.held_out_seconds)
    predictor, another = load_predictors()
    sampler = tracking.FrameSampler(info, face_position, another)
    track = tracking.track_landmarks(
        sampler.watch(media.read_frames(video)),
        frame_count=info.frame_count,
        fps=info.fps,
        face_position=face_position,
        max_missing_fraction=DEFAULTS.max_missing_fraction,
        max_gap_s=DEFAULTS.max_gap_seconds,
        predictor=predictor,
        watches_mouth=True,
        name=video,
    )
    report = tracking.run_preflight(video, track=track, face_position=face_position, sampler=sampler)
    report.raise_on_error()
    transform = tracking.choose_crop(track, info)
    count = tracking.write_face_videos(video, transform, folder / "face.mp4", folder / "face_256.mp4")
    assert count == info.frame_count
    media.write_audio(folder / "audio.wav", speech)
    track.save(folder / "landmarks.npz")
    tracking.save_crop(folder / "crop.json", transform, info, held_out)
    tracking.make_contact_sheet(folder / "face_256.mp4", transform, track)
    return report


def check_that_later_stages_can_go_on(person: Path) -> None:
    """Lengths agree, and enough is left to train on and to judge."""
    crop = tracking.load_crop(person / "01_crop" / "crop.json")
    track = tracking.LandmarkTrack.load(person / "01_crop" / "landmarks.npz")
    fps, audio_path = media.probe_video(person / "01_crop" / "face.mp4").fps, person / "01_crop" / "audio.wav"
    assert frame_count_for(open_audio(audio_path), fps) == crop["frame_count"] == len(track.frame_id)
    assert crop["held_out_start"] >= MIN_TRAINING_FRAMES
    assert crop["frame_count"] - crop["held_out_start"] >= 0.6 * fps
    order_controls(tracking.mouth_opening(track.landmarks[crop["held_out_start"] :]))
    is_training = track.frame_id < crop["held_out_start"]
    lead = measure_lead(load_face_model(), audio_path, track.landmarks, fps, valid=track.detected & is_training)
    assert np.isfinite([lead.lead_s, lead.correlation]).all()


def fit_clip(person: Path) -> Coefficients:
    """The fit of notebooks 02 and 03, from few frames and without fine-tuning."""
    crop_path = person / "01_crop" / "crop.json"
    crop, track = tracking.load_crop(crop_path), tracking.LandmarkTrack.load(person / "01_crop" / "landmarks.npz")
    small = tracking.CropTransform(crop["left"], crop["top"], crop["side"], PSEUDO_SIZE)
    read = reconstruction.video_reader(person / "01_crop" / "face_256.mp4")
    clip = reconstruction.open_clip(track, small, read, track.frame_id < crop["held_out_start"])
    settings = reconstruction.ReconstructionSettings("none", FitSettings(identity_frames=6), photometric=None)
    model = load_face_model()
    fitted = reconstruction.reconstruct(model, clip, settings)
    fitted.save(person / "03_reconstruction" / "coefficients.npz")
    quality = reconstruction.measure_fit(model, fitted, clip.landmarks, clip.size)
    errors = reconstruction.photometric_error(model, fitted, clip.read_all())
    assert reconstruction.check_fit(quality, None, colour_errors=(errors, errors), taught_correlation=None)
    assert np.isfinite([*vars(quality).values(), errors]).all(), "the summary takes finite figures alone"
    return fitted


@pytest.mark.slow
def test_the_worst_clip_walks_on_the_command_line_and_its_findings_are_printed(tmp_path: Path):
    """22 frames per second, two seconds, sound that ends before the picture, and a face of 100 px."""
    video, outputs = WORST.write(tmp_path / "video"), tmp_path / "outputs"
    options = ("-p", f"video={video}", "-p", f"outputs_dir={outputs}", "-p", "pseudo_seconds=2.0")
    result = metatalk("run", "--character", "A", "--profile", "smoke", "--to", "02", *options)
    assert result.returncode == 0, result.stderr
    assert "Finding of 01:      duration 2.2 s. About 3 minutes" in result.stdout
    found = load_summary(outputs, "A", "01_crop")
    assert found["counts"]["silence_added_s"] > 0
    assert {"held-out tail", "face width"} <= {each["name"] for each in found["findings"] if each["status"] == "notice"}
    assert load_summary(outputs, "A", "02_pseudo_video")["findings"]


@pytest.mark.slow
def test_a_video_that_is_no_use_ends_in_one_line_on_the_command_line(tmp_path: Path):
    video = REFUSALS["sound for a third of it"].write(tmp_path / "video")
    options = ("-p", f"video={video}", "-p", f"outputs_dir={tmp_path / 'outputs'}")
    result = metatalk("run", "--character", "A", "--profile", "smoke", "--to", "01", *options)
    assert_one_line_error(result, str(video), "Most of the picture has no sound")


@pytest.mark.parametrize("name", WALKS)
def test_a_usable_video_walks(name: str, tmp_path: Path):
    given, person = WALKS[name], tmp_path / "person"
    report = crop_clip(given.write(tmp_path / "video"), person, given.face_position)
    advised = [check.name for check in report.checks if check.status == "notice" and check.advice]
    assert not given.notice or given.notice in advised
    check_that_later_stages_can_go_on(person)
    if name in FITTED:
        fitted = fit_clip(person)
        assert np.isfinite(fitted.pack()).all()


@pytest.mark.parametrize("name", REFUSALS)
def test_a_video_that_is_no_use_ends_in_one_line(name: str, tmp_path: Path):
    given = REFUSALS[name]
    with pytest.raises(MetaTalkError) as caught:
        crop_clip(given.write(tmp_path / "video"), tmp_path / "person", given.face_position)
    said = str(caught.value)
    assert given.refusal in said
    assert "\n" not in said
    assert not isinstance(caught.value, AssertionError)


@pytest.mark.data
@pytest.mark.parametrize("name", ["grid_a.mpg", "suit_vfr.mp4"])
def test_a_filmed_clip_walks(name: str, tmp_path: Path):
    """MPEG-1 of 360 x 288 px, and a screen recording with a variable frame rate."""
    assert crop_clip(real_clip(name), tmp_path / "person", "only").is_usable
    check_that_later_stages_can_go_on(tmp_path / "person")


def test_there_are_forty_inputs():
    assert len(INPUTS) >= 40


@pytest.mark.parametrize("given", [WORST, WALKS["silent"]], ids=["worst", "silent"])
def test_a_person_is_judged_and_compared_on_whatever_is_left(given: Input, tmp_path: Path):
    """The tail has sound and frames, and AudioDVP's network trains on what comes before."""
    person = tmp_path / "person"
    crop_clip(given.write(tmp_path / "video"), person, given.face_position)
    fit_clip(person)
    crop, coefficients = person / "01_crop" / "crop.json", person / "03_reconstruction" / "coefficients.npz"
    tail = load_held_out(crop, coefficients, person / "01_crop" / "audio.wav", max_seconds=20.0)
    assert len(tail.samples_16k) == round(16000 * len(tail) / tail.fps)
    assert np.isfinite(tail.envelope()).all()
    start = load_json(crop)["held_out_start"]
    speech = media.read_audio(person / "01_crop" / "audio.wav")
    a2e, history = train_own_speech(speech, load_character(person), start, seed=0)
    assert 25 <= history["frames"] <= start
    assert np.isfinite(predict_expression(a2e, np.zeros((4, 256), np.float32))).all()
