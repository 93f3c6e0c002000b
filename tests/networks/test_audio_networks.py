"""AT-net and the two A2E networks: official keys, goldens, and what Table 1 says."""

import pytest
import torch
from torch import nn

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.networks.at_net import ATNet
from metatalk_lib.networks.audio_to_expression import AudioDVPA2E, MetaTalkA2E
from tests.reference import TOLERANCE, assert_keys_equal, build_inputs, golden_error, load_rule_b


def _count(network: nn.Module) -> int:
    return sum(weight.numel() for weight in network.parameters())


def test_at_net_has_the_official_keys_and_matches_its_golden():
    with torch.device("meta"):
        network = ATNet()
    network = network.to_empty(device="cpu")
    assert_keys_equal(network, "atnet")
    landmark, mfcc = build_inputs("atnet")
    load_rule_b(network, "atnet")
    with torch.no_grad():
        assert golden_error("atnet", "landmark_pca", network(landmark, mfcc)) <= TOLERANCE
        features = network.encode_audio(mfcc)
    assert golden_error("atnet", "audio_feature_256", features) <= TOLERANCE
    assert features.min() >= 0


def test_audiodvp_a2e_has_the_official_keys_and_matches_its_golden():
    network = AudioDVPA2E()
    assert_keys_equal(network, "audiodvp_a2e")
    with torch.no_grad():
        delta = load_rule_b(network, "audiodvp_a2e")(*build_inputs("audiodvp_a2e"))
    assert golden_error("audiodvp_a2e", "delta", delta[..., None]) <= TOLERANCE
    assert _count(network) == 16232


def test_table_1_has_its_parameter_count_and_layer_sizes():
    network = MetaTalkA2E()
    assert _count(network) == 47594
    value, shapes = torch.zeros(1, 7, 256), []
    for layer in network.convolutions:
        value = layer(value)
        if isinstance(layer, nn.Conv1d):
            shapes.append(tuple(value.shape[1:]))
    assert shapes == [(5, 254), (5, 252), (3, 250), (3, 248), (3, 246)]
    assert network(torch.zeros(2, 7, 256)).shape == (2, 64)


@pytest.mark.parametrize("activation", ["none", "relu", "leaky_relu", "tanh"])
def test_table_1_taken_literally_is_affine(activation):
    torch.manual_seed(0)
    network = MetaTalkA2E(activation).double()
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(1, 7, 256, generator=generator, dtype=torch.float64) for _ in range(2))
    with torch.no_grad():
        gap = network(0.5 * first + 0.5 * second) - 0.5 * network(first) - 0.5 * network(second)
    assert (gap.abs().max() < 1e-12) == (activation == "none")


def test_unknown_activation_is_refused():
    with pytest.raises(ParameterError, match="unknown A2E activation `swish`"):
        MetaTalkA2E("swish")
