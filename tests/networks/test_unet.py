"""The neural face renderer's U-Net and PatchGAN against the official networks' goldens, and at other sizes."""

import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.networks.initialization import initialize_normal
from metatalk_lib.networks.patch_gan import PatchGAN
from metatalk_lib.networks.unet import RefineBlock, UNet
from tests.reference import TOLERANCE, assert_keys_equal, build_inputs, golden_error, load_rule_b


@pytest.fixture(scope="module")
def official_unet() -> UNet:
    with torch.device("meta"):
        network = UNet()
    return network.to_empty(device="cpu")


def test_generator_has_the_official_keys(official_unet):
    assert_keys_equal(official_unet, "nfr_generator")


def test_generator_matches_its_golden(official_unet):
    network = load_rule_b(official_unet, "nfr_generator")
    with torch.no_grad():
        fake = network(*build_inputs("nfr_generator"))
    assert golden_error("nfr_generator", "fake", fake) <= TOLERANCE


def test_discriminator_has_the_official_keys_and_matches_its_golden():
    network = PatchGAN()
    assert_keys_equal(network, "nfr_discriminator")
    with torch.no_grad():
        logits = load_rule_b(network, "nfr_discriminator")(*build_inputs("nfr_discriminator"))
    assert golden_error("nfr_discriminator", "logits", logits) <= TOLERANCE


@pytest.mark.parametrize("refine", [True, False])
def test_narrow_generator_takes_oblong_input(refine):
    network = UNet(width=4, depth=5, refine=refine).eval()
    with torch.no_grad():
        image = network(torch.zeros(2, 21, 96, 160))
    assert image.shape == (2, 3, 96, 160)
    assert image.abs().max() < 1


def test_dropout_sits_in_the_three_innermost_levels_only():
    network = UNet(width=2, depth=6, dropout=0.25)
    rates = [sum(isinstance(part, torch.nn.Dropout) for part in block.modules()) for block in _blocks(network)]
    assert rates == [0, 0, 0, 2, 2, 2]
    assert not any(isinstance(part, torch.nn.Dropout) for part in UNet(width=2, depth=4, dropout=0.0).modules())


def _blocks(network: UNet) -> list[RefineBlock]:
    """Refinement blocks from the outermost level to the innermost."""
    found = [(name.count("."), module) for name, module in network.named_modules() if isinstance(module, RefineBlock)]
    return [module for _, module in sorted(found, key=lambda item: item[0])]


def test_every_weight_of_the_generator_receives_a_gradient():
    network = initialize_normal(UNet(width=2, depth=3), seed=3)
    network(torch.randn(2, 21, 32, 16, generator=torch.Generator().manual_seed(0))).square().mean().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_initialisation_depends_on_its_seed_only():
    first = initialize_normal(UNet(width=2, depth=3), seed=3).state_dict()
    torch.rand(5)
    again = initialize_normal(UNet(width=2, depth=3), seed=3).state_dict()
    other = initialize_normal(UNet(width=2, depth=3), seed=4).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["model.model.0.weight"], other["model.model.0.weight"])
    assert float(first["model.model.0.weight"].std()) == pytest.approx(0.02, rel=0.1)
    assert not first["model.model.4.bias"].any()


def test_wrong_input_of_the_generator_is_refused():
    network = UNet(width=2, depth=3)
    with pytest.raises(ParameterError, match="multiples of 8"):
        network(torch.zeros(1, 21, 32, 20))
    with pytest.raises(ParameterError, match="takes 21 channels"):
        network(torch.zeros(1, 3, 32, 32))


def test_wrong_sizes_of_the_networks_are_refused():
    with pytest.raises(ParameterError, match="depth >= 2"):
        UNet(depth=1)
    with pytest.raises(ParameterError, match="layers >= 1"):
        PatchGAN(layers=0)


def test_discriminator_patch_is_70_pixels():
    network = PatchGAN(3, width=2).eval()
    images = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits = network(images)
    assert logits.shape == (1, 1, 14, 14)
    logits[0, 0, 7, 7].backward()
    rows = images.grad[0].abs().sum(0).sum(1).nonzero()
    assert int(rows.max() - rows.min()) + 1 == 70
