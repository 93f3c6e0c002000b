"""The networks that judge and the baselines' networks: official keys, and their goldens under weight rule B."""

import pytest
import torch
from torch import nn

from metatalk_lib.evaluation.syncnet_tracks import make_anchors
from metatalk_lib.networks.auto_vc import AutoVC
from metatalk_lib.networks.inception import FIDInception
from metatalk_lib.networks.lip_sync_expert import LipSyncExpert
from metatalk_lib.networks.make_it_talk import ContentBranch, SpeakerBranch
from metatalk_lib.networks.residual_unet import ResidualUNet
from metatalk_lib.networks.s3fd import S3FDSyncNet, S3FDWav2Lip
from metatalk_lib.networks.syncnet import SyncNet
from metatalk_lib.networks.vg_net import VGNet
from metatalk_lib.networks.voice_encoder import VoiceEncoder
from tests.reference import TOLERANCE, assert_keys_equal, build_inputs, golden_error, load_rule_b


def build(network_class: type[nn.Module], name: str) -> nn.Module:
    with torch.device("meta"):
        network = network_class()
    network = network.to_empty(device="cpu")
    assert_keys_equal(network, name)
    return load_rule_b(network, name)


def check(golden: str, **outputs: torch.Tensor) -> None:
    errors = {name: golden_error(golden, name, value) for name, value in outputs.items()}
    assert max(errors.values()) <= TOLERANCE, errors


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def test_syncnet():
    network = build(SyncNet, "syncnet_v2")
    mfcc, faces = build_inputs("syncnet_v2")
    features = network.netcnnlip(faces).flatten(1)
    check("syncnet_v2", aud=network.forward_aud(mfcc), lip=network.forward_lip(faces), lipfeat=features)


def test_lip_sync_expert():
    network = build(LipSyncExpert, "wav2lip_syncnet_color")
    audio, face = network(*build_inputs("wav2lip_syncnet_color"))
    check("wav2lip_syncnet_color", audio_embedding=audio, face_embedding=face)


def test_s3fd_of_wav2lip():
    maps = build(S3FDWav2Lip, "s3fd_wav2lip")(*build_inputs("s3fd_wav2lip"))
    outputs = {f"cls{number}": logits for number, (logits, _) in enumerate(maps, 1)}
    outputs |= {f"reg{number}": offsets for number, (_, offsets) in enumerate(maps, 1)}
    check("s3fd_wav2lip", **outputs)


def test_s3fd_of_syncnet():
    offsets, probabilities = build(S3FDSyncNet, "s3fd_syncnet")(*build_inputs("s3fd_syncnet"))
    anchors = make_anchors([(24, 32), (12, 16), (6, 8), (3, 4), (2, 2), (1, 1)]) / torch.tensor([128, 96, 128, 96])
    check("s3fd_syncnet", loc=offsets, conf_softmax=probabilities, priors=anchors)


def test_vg_net_with_one_face_and_with_two():
    network = build(VGNet, "vgnet")
    for golden in ("vgnet", "vgnet_batch2"):
        out = network(*build_inputs(golden))
        check(golden, image=out.images, attention=out.attention, color=out.colour, lmark_att=out.landmark_attention)


def test_auto_vc():
    network = build(AutoVC, "makeittalk_autovc")
    mel, voice, _, target, pitch = build_inputs("makeittalk_autovc")
    out = network(mel, voice, target, pitch)
    check("makeittalk_autovc", mel=out.mel, mel_postnet=out.refined, codes=out.codes)


def test_content_branch():
    displacement = build(ContentBranch, "makeittalk_content")(*build_inputs("makeittalk_content"))
    check("makeittalk_content", fl_displacement=displacement)


def test_speaker_branch():
    with torch.device("cpu"):
        network = SpeakerBranch()
    assert_keys_equal(network, "makeittalk_speaker")
    table = {key: value for key, value in network.state_dict().items() if key.endswith(".pe")}
    from tests.reference import build_weights

    network.load_state_dict(build_weights("makeittalk_speaker") | table)
    mel, voice, _ = build_inputs("makeittalk_speaker")
    displacement, speaker = network.eval()(mel, voice, torch.zeros(len(mel), 128))
    check("makeittalk_speaker", fl_displacement=displacement, spk_encode=speaker)


def test_image_translation():
    image = build(ResidualUNet, "makeittalk_i2i")(*build_inputs("makeittalk_i2i"))
    check("makeittalk_i2i", before_tanh=image)


def test_voice_encoder():
    embedding = build(VoiceEncoder, "resemblyzer_voice_encoder")(*build_inputs("resemblyzer_voice_encoder"))
    check("resemblyzer_voice_encoder", embedding=embedding)


def test_inception():
    check("fid_inception", pool3_2048=build(FIDInception, "fid_inception")(*build_inputs("fid_inception")))
