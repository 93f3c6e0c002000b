"""The shipped audio encoder and the command that makes it."""

import shutil
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from metatalk_lib.core.paths import PACKAGE_DATA_DIR, PROJECT_ROOT
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.audio import Audio
from metatalk_lib.networks.open_audio_encoder import OpenAudioEncoder, SpeechHeads
from metatalk_lib.pseudo_video.lip_lead import hear_opening
from metatalk_lib.reconstruction.lip_curves import compute_r2
from metatalk_lib.speech.audio_encoder import encode_audio, load_audio_encoder
from metatalk_lib.speech.corpus import pad_speech
from metatalk_lib.speech.mfcc import compute_mfcc_blocks
from metatalk_lib.speech.sentences import STUDIO_SENTENCES
from metatalk_lib.speech.synthesis import Speech, synthesize
from metatalk_lib.speech.visemes import VISEMES, viseme_curves

FPS = Fraction(25)
CARD = PACKAGE_DATA_DIR / "audio_encoder_open.md"


@pytest.fixture(scope="module")
def spoken() -> list[tuple[Speech, np.ndarray, np.ndarray]]:
    """Speech, MFCC blocks and true actions of sentences and a voice that the encoder was not trained on."""
    torch.set_num_threads(1)
    items = []
    for sentence in [text for texts in STUDIO_SENTENCES.values() for text in texts][:6]:
        speech = pad_speech(synthesize(sentence, "en-gb+f4"), 0.2)
        count = round(speech.duration_s * 25)
        actions = viseme_curves(speech.phonemes, count, FPS)
        items.append((speech, compute_mfcc_blocks(speech.samples, count, FPS), actions))
    return items


def probe(inputs: list[np.ndarray], actions: list[np.ndarray]) -> float:
    """R² on the last two utterances of a ridge regression fitted to the others."""
    train, test = np.concatenate(inputs[:-2]).astype(np.float64), np.concatenate(inputs[-2:]).astype(np.float64)
    truth, mean = np.concatenate(actions[-2:]), np.concatenate(actions[:-2]).mean(axis=0)
    centre = train.mean(axis=0)
    gram = (train - centre).T @ (train - centre)
    penalty = 0.03 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = np.linalg.solve(gram + penalty, (train - centre).T @ (np.concatenate(actions[:-2]) - mean))
    return compute_r2((test - centre) @ weight + mean, truth, mean=mean)


def test_features_of_the_shipped_weights_know_the_lips_and_random_ones_do_not(spoken):
    torch.manual_seed(0)
    untrained = OpenAudioEncoder().eval()
    shipped = load_audio_encoder()
    untrained.mfcc_mean.copy_(shipped.mfcc_mean)
    untrained.mfcc_std.copy_(shipped.mfcc_std)
    actions = [item[2] for item in spoken]
    scores = {
        "shipped": probe([encode_audio(shipped, mfcc) for _, mfcc, _ in spoken], actions),
        "untrained": probe([encode_audio(untrained, mfcc) for _, mfcc, _ in spoken], actions),
        "mfcc": probe([mfcc.reshape(len(mfcc), -1) for _, mfcc, _ in spoken], actions),
    }
    assert scores["shipped"] > 0.45, scores
    assert max(scores["untrained"], scores["mfcc"]) < 0.2, scores


def test_level_of_a_recording_does_not_matter(spoken):
    speech, mfcc, _ = spoken[0]
    encoder = load_audio_encoder()
    quiet = compute_mfcc_blocks(0.1 * speech.samples, len(mfcc), FPS)
    loud, soft = encode_audio(encoder, mfcc), encode_audio(encoder, quiet)
    assert np.abs(loud - soft).max() < 1e-2 * loud.max()


def test_weights_are_small_and_their_card_tells_how_they_were_made():
    assert CARD.with_suffix(".safetensors").stat().st_size <= 10e6
    text = CARD.read_text("utf-8")
    for needed in (
        "python -m training.train_audio_encoder --utterances",
        "--seed",
        "Training data",
        "new recorded voice",
        "Limits",
    ):
        assert needed in text


def test_the_shipped_heads_close_the_mouth_where_nobody_speaks():
    samples = 0.1 * np.random.default_rng(0).normal(size=3 * 16000).astype(np.float32)
    spoken = synthesize("Many happy people clap and sing along.", "en-us+f2")
    model = load_face_model()
    openings = [
        hear_opening(model, audio, FPS, round(audio.duration_s * 25))
        for audio in (Audio(samples[:, None], 16000), spoken.audio)
    ]
    assert openings[0].std() < 0.2 * openings[1].std()
    assert openings[0].mean() < 0.5 * openings[1].mean()


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("flite") is None or shutil.which("festival") is None, reason="flite or festival is not installed"
)
def test_the_training_command_writes_weights_and_card(tmp_path):
    command = [sys.executable, "-m", "training.train_audio_encoder", "--output", str(tmp_path), "--threads", "1"]
    options = ["--utterances", "12", "--steps", "4", "--test-utterances", "2", "--seed", "3"]
    subprocess.run([*command, *options], check=True, capture_output=True, cwd=PROJECT_ROOT)
    weights = load_file(tmp_path / "audio_encoder_open.safetensors")
    expected = nn.ModuleDict({"encoder": OpenAudioEncoder(), "heads": SpeechHeads(len(VISEMES))}).state_dict()
    assert {key: value.shape for key, value in weights.items()} == {key: value.shape for key, value in expected.items()}
    assert float(weights["encoder.mfcc_std"].min()) > 1
    assert "--utterances 12 --steps 4 --seed 3" in (tmp_path / "audio_encoder_open.md").read_text("utf-8")
