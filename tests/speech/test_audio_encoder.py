"""audio_encoder: the open network alone and over a stretch, AT-net's published file, streaming."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio, to_mono_16k
from metatalk_lib.networks.at_net import ATNet
from metatalk_lib.networks.open_audio_encoder import OpenAudioEncoder, SpeechHeads
from metatalk_lib.speech import mfcc as mfcc_module
from metatalk_lib.speech.audio_encoder import (
    encode_audio,
    fingerprint_encoder,
    load_atnet_encoder,
    load_audio_encoder,
    load_open_speech,
    predict_actions,
    stream_features,
)
from metatalk_lib.speech.mfcc import compute_mfcc_blocks
from tests.reference import TOLERANCE, build_inputs, build_weights, golden_error
from tests.synthetic import make_tone_audio, reference_signal


def test_each_block_is_encoded_alone_and_nan_is_refused():
    torch.manual_seed(0)
    encoder = OpenAudioEncoder().eval()
    mfcc = np.random.default_rng(0).normal(size=(300, 28, 12)).astype(np.float32)
    features = encode_audio(encoder, mfcc)
    assert features.shape == (300, 256)
    assert features.min() >= 0
    assert np.allclose(features[270:273], encode_audio(encoder, mfcc[270:273]), atol=1e-5)
    mfcc[5, 0, 0] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        encode_audio(encoder, mfcc)


def test_a_stretch_of_steps_gives_the_features_of_its_blocks():
    torch.manual_seed(0)
    encoder = OpenAudioEncoder().eval()
    steps = torch.randn(2, 4 * 9 + 24, 12)
    blocks = steps[1].unfold(0, 28, 4).transpose(1, 2)
    with torch.no_grad():
        torch.testing.assert_close(encoder.encode_steps(steps)[1], encoder(blocks), atol=1e-5, rtol=1e-5)


def test_training_heads_give_the_frames_with_whole_windows_and_actions_of_all():
    heads = SpeechHeads(25)
    lips, visemes = heads(torch.rand(2, 20, 256))
    assert lips.shape == (2, 14, 12)
    assert visemes.shape == (2, 14, 25)
    heads.action_mean.fill_(0.5)
    assert torch.equal(heads.predict_actions(torch.rand(20, 256)), torch.full((20, 52), 0.5))


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(30000, 1001)])
def test_a_recording_is_encoded_in_groups_as_a_whole(monkeypatch: pytest.MonkeyPatch, fps: Fraction):
    encoder, heads = load_open_speech()
    samples = reference_signal()
    recording = Audio(np.repeat(samples, 3)[:, None], 48000)
    mono = to_mono_16k(recording)
    whole = encode_audio(encoder, compute_mfcc_blocks(mono, round(2 * fps), fps))
    monkeypatch.setattr(mfcc_module, "GROUP_FRAMES", 7)
    groups = list(stream_features(encoder, recording, fps))
    assert len(groups) == -(-len(whole) // 7)
    np.testing.assert_allclose(np.concatenate(groups), whole, atol=1e-5)
    assert predict_actions(groups, heads).shape == (len(whole), 52)


@pytest.mark.parametrize("prefix", ["module.", ""])
def test_at_nets_file_loads_key_by_key_and_gives_the_golden_features(tmp_path: Path, prefix: str):
    path = tmp_path / "atnet_lstm_18.pth"
    torch.save({prefix + key: value for key, value in build_weights("atnet").items()}, path)
    encoder = load_atnet_encoder(path)
    _, mfcc = build_inputs("atnet")
    features = [encode_audio(encoder, item.numpy()) for item in mfcc]
    assert golden_error("atnet", "audio_feature_256", torch.from_numpy(np.stack(features))) <= TOLERANCE


def test_files_that_are_not_at_net_are_refused(tmp_path: Path):
    torch.save({"module.lstm_fc.0.weight": torch.zeros(6, 256)}, tmp_path / "small.pth")
    with pytest.raises(DataError, match="does not fit ATNet"):
        load_atnet_encoder(tmp_path / "small.pth")
    with pytest.raises(DataError, match="atnet .* is missing"):
        load_audio_encoder("atnet")


def test_unknown_encoders_are_refused():
    for use in (load_audio_encoder, fingerprint_encoder):
        with pytest.raises(ParameterError, match="no audio encoder `hubert`"):
            use("hubert")


def test_the_papers_wider_blocks_are_an_option_of_at_net():
    with torch.device("meta"):
        network = ATNet(coefficients=80)
        assert network.audio_eocder_fc[0].in_features == 116736
        assert network.encode_audio(torch.zeros(1, 2, 28, 80)).shape == (1, 2, 256)
    assert len(compute_mfcc_blocks(to_mono_16k(make_tone_audio(1.0, 16000)), 25, Fraction(25), coefficients=80)) == 25
