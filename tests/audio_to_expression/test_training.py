"""A2E's training, use and storage on made-up features, and the mouth in silence."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.audio_to_expression.model import (
    TrainedA2E,
    load_a2e,
    predict_expression,
    save_a2e,
    smooth_expression,
    stream_expression,
    window_features,
)
from metatalk_lib.audio_to_expression.silence_gate import close_mouth_in_silence, compute_silence_weight
from metatalk_lib.audio_to_expression.training import A2ESettings, predict_held_out, train_a2e
from metatalk_lib.audio_to_expression.warm_start import Pairs, optimise, start_as_filters
from metatalk_lib.core.artifacts import load_json, save_json
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.networks.audio_to_expression import AudioDVPA2E, MetaTalkA2E


def _make_pairs(utterances: int = 5, frames: int = 60) -> tuple[list, list]:
    """Features driven by four smooth signals; expressions are other mixtures of them, with a little noise."""
    generator = np.random.default_rng(0)
    to_features, to_expression = generator.normal(size=(4, 256)), generator.normal(size=(4, 64))
    features, expressions = [], []
    for _ in range(utterances):
        walk = np.cumsum(generator.normal(size=(frames, 4)), axis=0) * 0.3
        features.append(
            np.maximum(walk @ to_features + generator.normal(size=(frames, 256)) * 0.1, 0).astype(np.float32)
        )
        noise = generator.normal(size=(frames, 64)) * 0.05
        expressions.append((walk @ to_expression + noise + 2).astype(np.float32))
    return features, expressions


@pytest.fixture(scope="module")
def trained() -> tuple:
    torch.set_num_threads(1)
    return train_a2e(*_make_pairs(), A2ESettings(epochs=3, seed=1))


def test_windows_are_centred_and_zero_padded():
    features = np.arange(1, 6, dtype=np.float32)[:, None] * np.ones((1, 256), np.float32)
    windows = window_features(features)
    assert windows.shape == (5, 7, 256)
    assert windows[:, :, 0].tolist()[0] == [0, 0, 0, 1, 2, 3, 4]
    assert windows[:, :, 0].tolist()[4] == [2, 3, 4, 5, 0, 0, 0]


def test_training_beats_the_mean_and_keeps_its_best_epoch(trained):
    model, history = trained
    features, expressions = _make_pairs()
    assert history.held_out_spans == ((4, 0),)
    error = np.square(predict_expression(model, features[4]) - expressions[4]).mean()
    assert error == pytest.approx(history.held_out[history.best_epoch], rel=1e-3)
    predicted, fitted = predict_held_out(model, history, features, expressions, [np.arange(60) != 9] * 5)
    assert np.array_equal(fitted, np.delete(expressions[4], 9, axis=0))
    assert np.array_equal(predicted, np.delete(predict_expression(model, features[4]), 9, axis=0))
    assert history.held_out[history.best_epoch] == min(history.held_out)
    assert error < 0.2 * history.baseline


def test_shuffled_pairs_teach_nothing():
    features, expressions = _make_pairs()
    generator = np.random.default_rng(3)
    shuffled = [item[generator.permutation(len(item))] for item in features]
    _, history = train_a2e(shuffled, expressions, A2ESettings(epochs=1))
    assert min(history.held_out) > 0.5 * history.baseline


@pytest.mark.parametrize(("architecture", "filters"), [("meta_talk", 3), ("audiodvp", 1)])
def test_convolutions_start_as_averages_over_time(architecture, filters):
    network = MetaTalkA2E("leaky_relu") if architecture == "meta_talk" else AudioDVPA2E()
    inside = []
    network.fc.register_forward_pre_hook(lambda _, inputs: inside.append(inputs[0].reshape(filters, -1)))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv1d):
                module.weight.zero_()
        start_as_filters(network)
        network(torch.arange(1.0, 8.0)[None, :, None].expand(1, 7, 256))
    assert inside[0][:, 0].tolist() == pytest.approx([4.0, 2.5, 5.5][:filters], abs=0.15)


def test_adam_learns_without_the_warm_start():
    features, expressions = _make_pairs()
    inputs = torch.from_numpy(np.concatenate([window_features(item) for item in features]) / 3)
    targets = torch.from_numpy(np.concatenate(expressions) - 2)
    torch.manual_seed(0)
    data = Pairs(inputs[:240], targets[:240], inputs[240:], targets[240:])
    training, held_out, best = optimise(
        MetaTalkA2E("tanh"), data, epochs=4, patience=9, batch_size=16, rate=1e-3, seed=0
    )
    assert len(training) == len(held_out) == 5
    assert training[-1] < 0.7 * training[0]
    assert best > 0


def test_training_is_deterministic(tmp_path: Path, trained):
    torch.rand(3)
    again, _ = train_a2e(*_make_pairs(), A2ESettings(epochs=3, seed=1))
    other, _ = train_a2e(*_make_pairs(), A2ESettings(epochs=3, seed=2))
    files = []
    for name, model in (("first", trained[0]), ("again", again), ("other", other)):
        save_a2e(model, tmp_path / name)
        files.append((tmp_path / name / "a2e.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_early_stopping_obeys_its_patience():
    features, expressions = _make_pairs(2, 30)
    noise = [np.random.default_rng(5).normal(size=(30, 64)) for _ in expressions]
    _, history = train_a2e(features, noise, A2ESettings(epochs=50, patience=2))
    assert len(history.held_out) == history.best_epoch + 3


def test_a_single_utterance_holds_out_its_tail():
    features, expressions = _make_pairs(1, 100)
    _, history = train_a2e(features, expressions, A2ESettings(epochs=0))
    assert history.held_out_spans == ((0, 85),)
    assert history.best_epoch == 0


@pytest.mark.parametrize("architecture", ["meta_talk", "audiodvp"])
def test_saved_network_predicts_the_same(tmp_path: Path, architecture):
    features, expressions = _make_pairs()
    model, _ = train_a2e(features, expressions, A2ESettings(architecture=architecture, epochs=0))
    save_a2e(model, tmp_path)
    loaded = load_a2e(tmp_path)
    assert loaded.architecture == architecture
    assert np.array_equal(predict_expression(loaded, features[0]), predict_expression(model, features[0]))


def test_prediction_has_one_row_a_frame_and_undoes_the_scaling():
    network = torch.nn.Module()
    network.forward = lambda window: window[:, 3, :64]
    model = TrainedA2E(network, "meta_talk", "none", 2.0, np.full(64, 5, np.float32), 4.0)
    features = np.random.default_rng(0).random((3, 256), np.float32)
    assert np.allclose(predict_expression(model, features), features[:, :64] / 2 * 4 + 5)


def test_broken_files_are_refused(tmp_path: Path, trained):
    with pytest.raises(DataError, match="does not exist"):
        load_a2e(tmp_path)
    save_a2e(trained[0], tmp_path)
    (tmp_path / "a2e.safetensors").write_bytes(b"not weights")
    with pytest.raises(DataError, match=r"does not hold the expected weights .* Run stage 04"):
        load_a2e(tmp_path)
    save_a2e(trained[0], tmp_path)
    save_json(tmp_path / "a2e.json", load_json(tmp_path / "a2e.json") | {"architecture": "audiodvp"})
    with pytest.raises(DataError, match=r"a2e.safetensors does not fit .* Run stage 04"):
        load_a2e(tmp_path)


def test_frames_that_are_not_valid_change_nothing():
    features, expressions = _make_pairs(3, 40)
    valid = [np.arange(40) >= 5] * 3
    clean, history = train_a2e(features, expressions, A2ESettings(epochs=1), valid=valid)
    broken = [np.where(good[:, None], item, np.nan) for item, good in zip(expressions, valid, strict=True)]
    again, _ = train_a2e(features, broken, A2ESettings(epochs=1), valid=valid)
    assert np.array_equal(predict_expression(clean, features[0]), predict_expression(again, features[0]))
    assert history.held_out_spans == ((2, 0),)


def test_bad_pairs_are_refused():
    features, expressions = _make_pairs(2, 30)
    with pytest.raises(ParameterError, match=r"features \[30, 30\], expressions \[29, 30\]"):
        train_a2e(features, [expressions[0][:29], expressions[1]])
    with pytest.raises(ParameterError, match=r"expressions \[30\]"):
        train_a2e(features, expressions[:1])
    with pytest.raises(ParameterError, match="10 valid frames are too few"):
        train_a2e([features[0][:10]], [expressions[0][:10]])
    with pytest.raises(ParameterError, match="unknown A2E architecture `lstm`"):
        train_a2e(features, expressions, A2ESettings(architecture="lstm"))
    with pytest.raises(ParameterError, match="0 < held_out_fraction < 1"):
        A2ESettings(held_out_fraction=1.0)
    features[1][3, 3] = np.nan
    with pytest.raises(DataError, match="utterance 1 holds NaN"):
        train_a2e(features, expressions)


def test_mouth_is_closed_in_silence_and_untouched_in_speech():
    expression = np.random.default_rng(0).normal(size=(40, 64)).astype(np.float32)
    silence = np.zeros(40, bool)
    silence[10:20] = silence[33:] = True
    closed = np.full(64, -0.5, np.float32)
    result = close_mouth_in_silence(expression, silence, 25.0, closed)
    assert np.array_equal(result[~silence], expression[~silence])
    assert np.array_equal(result[11:19], np.tile(closed, (8, 1)))
    assert np.array_equal(result[34:], np.tile(closed, (6, 1)))
    assert np.allclose(result[10], 0.5 * expression[10] + 0.5 * closed)
    assert not close_mouth_in_silence(expression, silence, 25.0)[11:19].any()


def test_silence_weight_is_a_smooth_step_of_80_ms_at_any_rate():
    silence = np.ones(100, bool)
    silence[50] = False
    weight = compute_silence_weight(silence, 50.0)
    assert weight[50:56].tolist() == pytest.approx([0, 0.15625, 0.5, 0.84375, 1, 1])
    assert np.array_equal(weight[1:50], weight[51:][::-1])
    assert compute_silence_weight(np.ones(3, bool), 25.0).tolist() == [1, 1, 1]
    assert compute_silence_weight(np.zeros(3, bool), 25.0).tolist() == [0, 0, 0]
    with pytest.raises(ParameterError, match="4 expressions but 3 silence flags"):
        close_mouth_in_silence(np.zeros((4, 64), np.float32), np.zeros(3, bool), 25.0)


def test_smoothing_keeps_constants_and_spreads_a_single_frame():
    expression = np.zeros((21, 64), np.float32)
    expression[10] = 1
    smooth = smooth_expression(expression, fps=25.0, sigma_ms=40.0)
    assert smooth.sum(axis=0) == pytest.approx(np.ones(64), rel=1e-5)
    assert smooth[10, 0] == pytest.approx(0.399, abs=0.01)
    assert np.array_equal(smooth_expression(expression, fps=25.0, sigma_ms=0.0), expression)
    assert np.allclose(smooth_expression(np.ones((9, 64), np.float32), fps=25.0, sigma_ms=50.0), 1)
    with pytest.raises(ParameterError, match="sigma_ms >= 0"):
        smooth_expression(expression, fps=Fraction(25), sigma_ms=-1.0)


def test_features_in_groups_give_the_expressions_of_the_whole(trained):
    model, _ = trained
    features = _make_pairs(1, 40)[0][0]
    whole = predict_expression(model, features)
    for sizes in ([40], [1, 2, 3, 34], [1] * 40):
        groups = np.split(features, np.cumsum(sizes)[:-1])
        np.testing.assert_allclose(np.concatenate(list(stream_expression(model, groups))), whole, rtol=1e-5, atol=1e-5)
    assert len(predict_expression(model, features[:1])) == 1


def test_a_network_of_another_encoder_version_is_refused(trained, tmp_path: Path):
    save_a2e(trained[0], tmp_path)
    settings = load_json(tmp_path / "a2e.json")
    assert settings["audio_encoder"] == load_a2e(tmp_path).audio_encoder == "open"
    save_json(tmp_path / "a2e.json", settings | {"audio_encoder_sha256": "0" * 64})
    with pytest.raises(DataError, match="another version of the audio encoder `open`.*Run stage 04"):
        load_a2e(tmp_path)
