"""Wav2Lip's generator: official keys, and both goldens."""

import torch

from metatalk_lib.networks.wav2lip import Wav2LipGenerator
from tests.reference import TOLERANCE, assert_keys_equal, build_inputs, golden_error, load_rule_b


def test_the_generator_has_the_official_keys_and_matches_both_goldens():
    with torch.device("meta"):
        network = Wav2LipGenerator()
    network = network.to_empty(device="cpu")
    assert_keys_equal(network, "wav2lip")
    load_rule_b(network, "wav2lip")
    with torch.no_grad():
        for golden in ("wav2lip", "wav2lip_seq"):
            assert golden_error(golden, "out", network(*build_inputs(golden))) <= TOLERANCE
