"""Joining the sound of an utterance with the fit of its video."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.audio_to_expression.training_pairs import (
    describe_pairs,
    load_pair,
    load_pairs,
    mean_teacher_correlation,
)
from metatalk_lib.core.artifacts import save_arrays, save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.stage import open_stage
from metatalk_lib.core.stage_configs import AudioToExpressionConfig
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.media.audio import Audio, write_audio
from tests.reconstruction.test_lip_curves import LipModel

FRAMES = 30


def write_pair(folder: Path, frame_id: np.ndarray, taught: int = FRAMES) -> tuple[Path, Path, Path, Path]:
    generator = np.random.default_rng(0)
    paths = tuple(folder / name for name in ("000.json", "000.wav", "000.npz", "fit.npz"))
    save_json(paths[0], {"fps": [25, 1], "frame_count": FRAMES, "text": "Hello."})
    samples = generator.normal(size=(FRAMES * 640, 1)) * 0.1
    samples[: 10 * 640] = 0
    write_audio(paths[1], Audio(samples.astype(np.float32), 16000))
    save_arrays(paths[2], expression=generator.normal(size=(taught, 64)).astype(np.float32))
    count = len(frame_id)
    values = {name: np.zeros((count, size), np.float32) for name, size in (("illumination", 27), ("rotation", 3))}
    Coefficients(
        frame_id=frame_id,
        identity=np.full(80, 0.5, np.float32),
        texture=np.zeros(80, np.float32),
        expression=frame_id[:, None].astype(np.float32) * np.ones((1, 64), np.float32),
        translation=values["rotation"],
        valid=frame_id != 7,
        landmark_error_px=np.zeros(count, np.float32),
        **values,
    ).save(paths[3])
    return paths


def test_fit_and_sound_are_joined_by_frame_number(tmp_path: Path):
    pair = load_pair(*write_pair(tmp_path, np.delete(np.arange(FRAMES), [3, 20])))
    assert pair.name == "000"
    assert pair.fps == Fraction(25)
    assert pair.mfcc.shape == (FRAMES, 28, 12)
    assert np.flatnonzero(~pair.valid).tolist() == [3, 7, 20]
    assert pair.expression[pair.valid, 0].tolist() == np.flatnonzero(pair.valid).tolist()
    assert not pair.expression[[3, 20]].any()
    assert pair.identity[0] == 0.5
    assert pair.silence[:9].all()
    assert not pair.silence[10:].any()


@pytest.mark.parametrize(("last", "taught"), [(FRAMES + 1, FRAMES), (FRAMES, FRAMES - 1)])
def test_frames_that_do_not_belong_together_are_refused(tmp_path: Path, last: int, taught: int):
    with pytest.raises(DataError, match="but the utterance has 30"):
        load_pair(*write_pair(tmp_path, np.arange(last), taught))


def test_missing_files_are_named(tmp_path: Path):
    paths = write_pair(tmp_path, np.arange(FRAMES))
    paths[1].unlink()
    with pytest.raises(DataError, match=r"000\.wav"):
        load_pair(*paths)


def test_all_pairs_of_a_character_are_found_and_recorded(tmp_path: Path):
    config = AudioToExpressionConfig(outputs_dir=str(tmp_path), character="X", device="cpu")
    with pytest.raises(DataError, match="02_pseudo_video is not finished"):
        open_stage("04_audio_to_expression", config).finished_dir("02_pseudo_video")
    pairs_dir, fits_dir = tmp_path / "X/02_pseudo_video/pairs", tmp_path / "X/03_reconstruction/pseudo"
    pairs_dir.mkdir(parents=True)
    fits_dir.mkdir(parents=True)
    *_, fit = write_pair(pairs_dir, np.arange(FRAMES))
    fit.rename(fits_dir / "000.npz")
    for folder in (pairs_dir, fits_dir):
        save_json(folder.parent / "summary.json", {})
    stage = open_stage("04_audio_to_expression", config)
    assert stage.finished_dir("02_pseudo_video") == pairs_dir.parent
    assert [pair.name for pair in load_pairs(pairs_dir, fits_dir, record=stage.external_input)] == ["000"]
    summary = stage.finish()
    assert {Path(path).name for path in summary["inputs"]} == {"pairs", "000.json", "000.wav", "000.npz"}


def test_description_counts_frames_and_measures_the_fit(tmp_path: Path):
    pair = load_pair(*write_pair(tmp_path, np.arange(FRAMES)))
    pair = dataclasses.replace(pair, taught=pair.expression)
    (row,) = describe_pairs(LipModel(), LipModel(), [pair])
    assert row["teacher r"] == pytest.approx(1)
    assert (row["utterance"], row["frames"], row["not valid"]) == ("000", FRAMES, 1)
    assert row["silent"] in (9, 10)


def test_a_teacher_without_expressions_leaves_its_column_empty(tmp_path: Path):
    paths = write_pair(tmp_path, np.arange(FRAMES))
    save_arrays(paths[2], frame_id=np.arange(FRAMES))
    pair = load_pair(*paths)
    assert pair.taught is None
    rows = describe_pairs(LipModel(), LipModel(), [pair])
    assert rows[0]["teacher r"] is None
    assert mean_teacher_correlation(rows) is None
    assert mean_teacher_correlation([*rows, {"teacher r": 0.5}, {"teacher r": 0.7}]) == pytest.approx(0.6)
