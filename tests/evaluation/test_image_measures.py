"""The evaluation protocol on a drawn character: what is joined, what is measured, and which rows must lose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from metatalk_lib.core.artifacts import load_arrays, save_arrays
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.evaluation import image_measures
from metatalk_lib.evaluation.cheats import PASS_THROUGH
from metatalk_lib.evaluation.controls import REENCODED, STATIC_FRAME, write_controls
from metatalk_lib.evaluation.held_out import FinishedVideo, HeldOut, fit_sound, load_held_out
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics import image_quality
from metatalk_lib.reporting import moments
from tests import drawn_character as drawn

TAIL = drawn.FRAMES - drawn.HELD_OUT


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn.make_character(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_face_model()


def load(character: Path, seconds: float = 60.0) -> HeldOut:
    return load_held_out(
        character / "01_crop" / "crop.json",
        character / "03_reconstruction" / "coefficients.npz",
        character / "01_crop" / "audio.wav",
        max_seconds=seconds,
    )


@pytest.fixture(scope="module")
def held_out(character: Path) -> HeldOut:
    return load(character)


@pytest.fixture(scope="module")
def perfect(held_out: HeldOut, tmp_path_factory: pytest.TempPathFactory) -> FinishedVideo:
    """A finished video that is the source's own tail, encoded once more."""
    path = tmp_path_factory.mktemp("videos") / "perfect.mp4"
    write_video(path, read_frames(held_out.source, drawn.HELD_OUT), fps=held_out.fps)
    return FinishedVideo(path)


def test_the_held_out_frames_are_the_tail(held_out: HeldOut) -> None:
    assert held_out.frame_id.tolist() == list(range(drawn.HELD_OUT, drawn.FRAMES))
    np.testing.assert_array_equal(held_out.coefficients.frame_id, held_out.frame_id)
    assert len(held_out.samples_16k) == TAIL * 640
    originals = list(held_out.originals())
    expected = [drawn.TRANSFORM.crop_image(frame) for frame in read_frames(held_out.source, drawn.HELD_OUT)]
    np.testing.assert_array_equal(originals, expected)


def test_the_comparison_can_be_shortened(character: Path) -> None:
    held_out = load(character, seconds=0.2)
    assert held_out.frame_id.tolist() == [40, 41, 42, 43, 44]
    assert len(held_out.samples_16k) == 5 * 640
    assert len(held_out.shortened(3).coefficients) == len(held_out.shortened(3)) == 3


def test_masks_hold_the_mouth_and_leave_most_of_the_crop(held_out: HeldOut, model: FaceModel) -> None:
    masks = list(held_out.masks(model))
    assert len(masks) == TAIL
    for mask in masks:
        assert 0.03 < mask.mean() < 0.5


def test_image_measures_rank_truth_first_and_cheats_below(
    held_out: HeldOut, model: FaceModel, perfect: FinishedVideo
) -> None:
    table = image_measures.measure_images(held_out, model, {"Ours": perfect})
    assert table.columns.tolist() == list(image_measures.IMAGE_METRICS)
    assert table.loc[PASS_THROUGH].tolist() == pytest.approx([1.0, 1.0, float("inf"), 1.0, 1.0, 1.0], abs=1e-6)
    assert table.loc["static mouth (cheat)", image_measures.FLICKER] < 0.7
    assert table.loc["Ours", image_measures.FLICKER] == pytest.approx(1, abs=0.3)
    assert table.loc["Ours", "SSIM in mask"] > 0.95
    for cheat in table.index[1:5]:
        assert table.loc[cheat, "SSIM in mask"] < table.loc["Ours", "SSIM in mask"]
        assert table.loc[cheat, "SSIM"] > table.loc[cheat, "SSIM in mask"]
        assert table.loc[cheat, "CW-SSIM in mask"] < table.loc["Ours", "CW-SSIM in mask"]
    assert table.loc["blurred lower face (cheat)", "sharpness ratio in mask"] < 0.6
    assert table.loc["grey patch (cheat)", "sharpness ratio in mask"] == 0
    assert table.loc["grey patch (cheat)", "PSNR in mask, dB"] < table.loc["Ours", "PSNR in mask, dB"] - 10
    errors = [
        np.mean((frame[mask].astype(float) - original[mask]) ** 2)
        for frame, original, mask in zip(
            perfect.crops(held_out), held_out.originals(), held_out.masks(model), strict=True
        )
    ]
    assert table.loc["Ours", "PSNR in mask, dB"] == pytest.approx(10 * np.log10(255**2 / np.mean(errors)))


def test_ssim_is_told_in_its_three_variants(held_out: HeldOut, model: FaceModel, perfect: FinishedVideo) -> None:
    gaussian = image_measures.measure_images(held_out, model, {"Ours": perfect})["SSIM"]
    table = image_measures.measure_ssim_variants(held_out, {"Ours": perfect}, gaussian)
    assert table.columns.tolist() == ["SSIM", "SSIM uniform", "SSIM zero-padded"]
    assert table.loc["ground truth"].tolist() == pytest.approx([1, 1, 1])
    pairs = list(zip(perfect.crops(held_out), held_out.originals(), strict=True))
    for column, variant in zip(table.columns, ("gaussian", "uniform", "zero_padded"), strict=True):
        expected = np.mean([image_quality.ssim(*pair, variant=variant) for pair in pairs])
        assert table.loc["Ours", column] == pytest.approx(expected)
    assert len(set(table.loc["Ours"].round(5))) == 3


def test_controls_are_videos_with_the_mouths_of_other_moments(
    held_out: HeldOut, model: FaceModel, perfect: FinishedVideo, tmp_path: Path
) -> None:
    orders = {"backwards": np.arange(TAIL)[::-1].copy(), STATIC_FRAME: np.full(TAIL, 3)}
    controls = write_controls(held_out, model, tmp_path, orders)
    assert list(controls) == [REENCODED, *orders]
    frames = list(controls[STATIC_FRAME].crops(held_out))
    assert len(frames) == TAIL
    mask = np.logical_and.reduce(list(held_out.masks(model)))
    mouth = np.stack([frame[mask] for frame in frames]).astype(float)
    moving = np.stack([frame[mask] for frame in held_out.originals()]).astype(float)
    assert mouth.std(axis=0).mean() < 0.5 * moving.std(axis=0).mean()
    table = image_measures.measure_images(held_out, model, {**controls, "Ours": perfect})
    for name in orders:
        assert table.loc[name, "PSNR in mask, dB"] < table.loc[REENCODED, "PSNR in mask, dB"]
        assert table.loc[name, "SSIM"] < table.loc[REENCODED, "SSIM"]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 3, 3], [8, 9, 10, 0, 1, 2], [5, 4, 3, 3, 3, 9], [2]])
def test_originals_come_in_any_order(held_out: HeldOut, order: list[int]) -> None:
    frames = list(held_out.originals())
    np.testing.assert_array_equal(list(held_out.originals_at(np.array(order))), [frames[number] for number in order])


def test_references_are_the_truth_where_it_is_known(character: Path, held_out: HeldOut, tmp_path: Path) -> None:
    landmarks = character / "01_crop" / "landmarks.npz"
    references = image_measures.load_references(held_out, landmarks)
    assert references.kind == "true"
    np.testing.assert_allclose(references.reference, 20 * drawn.openings()[drawn.HELD_OUT :])
    elsewhere = replace(held_out, source=tmp_path / "source.mp4")
    references = image_measures.load_references(elsewhere, landmarks)
    assert references.kind == "measured on the original"
    np.testing.assert_array_equal(references.reference, references.measured)


def test_a_truth_that_lacks_frames_is_refused(character: Path, held_out: HeldOut, tmp_path: Path) -> None:
    truth = load_arrays(held_out.source.parent / "truth.npz")
    save_arrays(tmp_path / "truth.npz", **{name: values[:-2] for name, values in truth.items()})
    with pytest.raises(DataError, match="lacks 2 of 16 held-out frames, first 54"):
        image_measures.load_references(
            replace(held_out, source=tmp_path / "source.mp4"), character / "01_crop" / "landmarks.npz"
        )


def test_sync_table_has_controls_and_methods(character: Path, held_out: HeldOut) -> None:
    references = image_measures.load_references(held_out, character / "01_crop" / "landmarks.npz")
    jitter = np.random.default_rng(0).normal(0, 0.3, TAIL)
    openings = {
        REENCODED: references.measured + jitter,
        STATIC_FRAME: 5 + jitter,
        "Ours": 0.5 * references.measured + 3,
    }
    table, controls = image_measures.measure_sync(held_out, references, openings)
    assert table.columns.tolist() == list(image_measures.SYNC_METRICS)
    assert table.index[-1] == "Ours"
    assert table.loc["Ours", "opening r"] == pytest.approx(1.0)
    assert table.loc["silence", "opening r"] == 0.0
    assert table.loc["ground truth", "envelope r"] > 0.5
    assert list(controls) == ["opening", "envelope"]
    assert controls["opening"]["ground truth"].frames == TAIL
    with pytest.raises(ParameterError, match="was not measured"):
        image_measures.measure_sync(held_out, references, {"Ours": openings["Ours"]})


def test_scores_are_collected(held_out, model, perfect, character) -> None:
    images = image_measures.measure_images(held_out, model, {"Ours": perfect})
    references = image_measures.load_references(held_out, character / "01_crop" / "landmarks.npz")
    flat = np.zeros(TAIL)
    sync, _ = image_measures.measure_sync(held_out, references, {REENCODED: flat, STATIC_FRAME: flat, "Ours": flat})
    scores = image_measures.collect_scores(["Ours"], images, sync)
    assert sorted(scores["Ours"]) == sorted((*image_measures.IMAGE_METRICS, *image_measures.SYNC_METRICS))
    with pytest.raises(ParameterError, match="no row `Wav2Lip`"):
        image_measures.collect_scores(["Wav2Lip"], images, sync)
    assert image_measures.collect_scores(["Wav2Lip"], images, sync, may_lack=["Wav2Lip"]) == {"Wav2Lip": {}}


def test_moments_show_the_same_place_of_every_video(held_out, model, perfect, tmp_path: Path) -> None:
    shown = moments.sample_moments(held_out, model, {"Ours": perfect}, [2, 9], size=96)
    assert shown.frame_id.tolist() == [42, 49]
    for pictures in (shown.crops, shown.close_ups):
        assert list(pictures) == ["original", "Ours"]
        assert pictures["original"].shape == (2, 96, 96, 3)
        assert np.abs(pictures["original"].astype(int) - pictures["Ours"]).mean() < 6
    shown.save(tmp_path / "moments.npz")
    again = moments.Moments.load(tmp_path / "moments.npz")
    np.testing.assert_array_equal(again.close_ups["Ours"], shown.close_ups["Ours"])
    assert list(again.crops) == list(shown.crops)
    with pytest.raises(ParameterError, match="not within 0 to 15"):
        moments.sample_moments(held_out, model, {}, [16])


def test_videos_that_do_not_fit_are_refused(held_out, model, perfect, tmp_path: Path) -> None:
    frames = list(read_frames(perfect.path))
    write_video(tmp_path / "short.mp4", frames[:-1], fps=held_out.fps)
    write_video(tmp_path / "shorter.mp4", frames[:-2], fps=held_out.fps)
    write_video(tmp_path / "longer.mp4", [*frames, *frames[:2]], fps=held_out.fps)
    write_video(tmp_path / "small.mp4", [frame[:256, :256] for frame in frames], fps=held_out.fps)
    short, shorter = FinishedVideo(tmp_path / "short.mp4"), FinishedVideo(tmp_path / "shorter.mp4")
    assert len(fit_sound(held_out, [perfect, short])) == TAIL - 1
    with pytest.raises(DataError, match="14 frames, 16 are compared"):
        fit_sound(held_out, [perfect, shorter])
    with pytest.raises(DataError, match="18 frames, 16 are compared"):
        fit_sound(held_out, [perfect, FinishedVideo(tmp_path / "longer.mp4")])
    with pytest.raises(DataError, match="at least 16"):
        next(short.crops(held_out))
    with pytest.raises(DataError, match="256x256 px"):
        next(FinishedVideo(tmp_path / "small.mp4").crops(held_out))
    with pytest.raises(ParameterError, match="is a control row already"):
        image_measures.measure_images(held_out, model, {PASS_THROUGH: perfect})
    with pytest.raises(ParameterError, match="mask is empty"):
        image_measures.average_pictures([([frames[0]], frames[0], np.zeros(frames[0].shape[:2], bool))], 0, rim=4.0)


def test_nothing_held_out_is_refused(character: Path) -> None:
    crop = character / "01_crop" / "crop.json"
    before = crop.read_bytes()
    try:
        crop.write_bytes(before.replace(b'"held_out_start": 40', b'"held_out_start": 56'))
        with pytest.raises(DataError, match="no frames are held out"):
            load(character)
    finally:
        crop.write_bytes(before)
