"""Our generator: output before training, sizes, and refusals."""

import pytest
import torch

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.networks.initialization import initialize_kaiming
from metatalk_lib.networks.reference_unet import ReferenceUNet


def make_inputs(height: int = 32, width: int = 48, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.rand(2, 13, height, width, generator=generator) * 2 - 1,
        torch.rand(2, 2, 3, height, width, generator=generator) * 2 - 1,
    )


def make_network() -> ReferenceUNet:
    return initialize_kaiming(ReferenceUNet(13, 2, width=4, depth=3), seed=1)


def test_before_training_it_paints_the_mean_of_the_references():
    network = make_network()
    network.reset_exit()
    images, references = make_inputs()
    torch.testing.assert_close(network(images, references), references.mean(dim=1))


def test_a_decided_choice_takes_one_reference_as_it_is():
    network = make_network()
    network.reset_exit()
    with torch.no_grad():
        network.exit.bias[4 * 4 :] = 50.0  # the folded channels of the second reference's weight
    images, references = make_inputs()
    torch.testing.assert_close(network(images, references), references[:, 1])


def test_a_patch_is_painted_as_in_the_whole_picture_but_for_its_rim():
    network = make_network()
    images, references = make_inputs(128, 128)
    with torch.no_grad():
        whole = network(images, references)
        part = network(images[..., 16:112, 16:112], references[..., 16:112, 16:112])
    inner = slice(40, 56)
    torch.testing.assert_close(part[..., inner, inner], whole[..., 56:72, 56:72], rtol=1e-4, atol=1e-5)


def test_everything_is_trained():
    network = make_network()
    network(*make_inputs()).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_equal_seeds_give_equal_weights():
    one, other = make_network(), make_network()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_bad_shapes_are_refused():
    network = make_network()
    images, references = make_inputs()
    with pytest.raises(ParameterError, match="13 channels, 2 references and sides that are multiples of 8"):
        network(images[:, :12], references)
    with pytest.raises(ParameterError, match="multiples of 8"):
        network(images[..., :30], references[..., :30])
    with pytest.raises(ParameterError, match="2 references"):
        network(images, references[:, :1])
    for wrong in ({"references": 0}, {"width": 0}, {"depth": 1}, {"depth": 6}):
        with pytest.raises(ParameterError, match="ReferenceUNet needs"):
            ReferenceUNet(13, **{"references": 2} | wrong)
