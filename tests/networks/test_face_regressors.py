"""The two official face regressors against their goldens, and their shared ResNet-50."""

import pytest
import torch
from torch import nn

from metatalk_lib.networks.face_regressors import DEEP3D_HEAD_SIZES, AudioDVPRegressor, Deep3DRegressor, ResNet50
from tests.reference import TOLERANCE, assert_keys_equal, build_inputs, golden_error, load_keys, load_rule_b


def _empty(network_class: type[nn.Module]) -> nn.Module:
    """The network without initial weights, which take longer to draw than the rest of a test."""
    with torch.device("meta"):
        network = network_class()
    return network.to_empty(device="cpu")


@pytest.mark.parametrize(
    ("network_class", "name"), [(Deep3DRegressor, "deep3d_reconnet"), (AudioDVPRegressor, "audiodvp_regressor")]
)
def test_keys_are_the_official_ones_in_their_order(network_class, name):
    network = _empty(network_class)
    assert_keys_equal(network, name)
    assert list(network.state_dict()) == [key for key, _, _ in load_keys(name)]


def test_deep3d_regressor_matches_its_golden():
    network = load_rule_b(_empty(Deep3DRegressor), "deep3d_reconnet")
    with torch.no_grad():
        coefficients = network(*build_inputs("deep3d_reconnet"))
    assert golden_error("deep3d_reconnet", "coeffs", coefficients) <= TOLERANCE


def test_audiodvp_regressor_matches_its_golden():
    network = load_rule_b(_empty(AudioDVPRegressor), "audiodvp_regressor")
    images = build_inputs("audiodvp_regressor")[0]
    with torch.no_grad():
        coefficients, features = network(images), network.pretrained_model(images)
    official = {"alpha": "identity", "delta": "expression", "beta": "texture", "gamma": "illumination"}
    official |= {name: name for name in ("rotation", "translation")}
    errors = {
        golden: golden_error("audiodvp_regressor", golden, getattr(coefficients, name)[..., None])
        for golden, name in official.items()
    }
    errors["backbone_2048"] = golden_error("audiodvp_regressor", "backbone_2048", features)
    assert max(errors.values()) <= TOLERANCE, errors


def test_shared_vectors_repeat_in_every_frame():
    network = AudioDVPRegressor().eval()
    nn.init.constant_(network.alpha, 2.0)
    with torch.no_grad():
        coefficients = network(torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(coefficients.identity, torch.full((2, 80), 2.0))
    assert not torch.cat(coefficients[1:], dim=1).any()


def test_untrained_heads_of_deep3d_answer_with_the_mean_face():
    network = Deep3DRegressor().eval()
    with torch.no_grad():
        coefficients = network(torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
    assert coefficients.shape == (1, sum(DEEP3D_HEAD_SIZES)) == (1, 257)
    assert not coefficients.any()


def test_the_two_kinds_of_resnet_differ_for_equal_weights():
    first, second = ResNet50().eval(), ResNet50(is_caffe=True).eval()
    second.load_state_dict(first.state_dict(), strict=True)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert not torch.allclose(first(image), second(image), rtol=1e-2)
