import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument

TARGETS = torch.tensor([2, 0, 1])


def inputs_of(*shape):
    torch.manual_seed(0)
    return torch.randn(3, *shape).double()


@pytest.mark.parametrize("shape", [(2, 9), (1, 6, 5), (3, 6, 5), (2, 4, 5, 3), (2, 1, 4)])
def test_edge_detector_is_scipys_sobel(shape):
    inputs = inputs_of(*shape)
    maps = explainers.get("control:EdgeDetector").call(nn.Identity(), inputs, TARGETS)
    for image, got in zip(inputs.numpy().mean(1), maps.numpy(), strict=True):
        edges = [ndimage.sobel(image, axis) for axis in range(image.ndim)]
        assert np.allclose(got[0], np.sqrt(sum(edge**2 for edge in edges)))


def test_edge_detector_of_a_table_is_one_line():
    inputs = inputs_of(7)
    maps = explainers.get("control:EdgeDetector").call(nn.Identity(), inputs, TARGETS)
    for line, got in zip(inputs.numpy(), maps.numpy(), strict=True):
        assert np.allclose(got, np.abs(ndimage.sobel(line)))


def test_other_class_is_the_gradient_of_the_next_class():
    model = nn.Linear(4, 3).double()
    maps = explainers.get("control:OtherClass").call(model, inputs_of(4), TARGETS)
    assert torch.equal(maps, model.weight.detach()[[0, 1, 2]])


def test_other_class_needs_two_classes():
    with pytest.raises(InvalidArgument, match=r"single output, expected at least two classes"):
        explainers.get("control:OtherClass").call(
            nn.Linear(4, 1).double(), inputs_of(4), torch.zeros(3, dtype=torch.long)
        )


def test_random_map_is_noise_of_the_seed():
    inputs = inputs_of(2, 40, 40)
    explainer = explainers.get("control:RandomMap")
    torch.manual_seed(5)
    first = explainer.call(nn.Identity(), inputs, TARGETS)
    second = explainer.call(nn.Identity(), inputs, TARGETS)
    torch.manual_seed(5)
    assert torch.equal(explainer.call(nn.Identity(), inputs, TARGETS), first)
    maps = torch.cat([first, second]).flatten(1)
    # Six maps of 3,200 standard normal values: correlations and means have deviation 0.018.
    assert (torch.corrcoef(maps) - torch.eye(6)).abs().max() < 0.08
    assert maps.mean(1).abs().max() < 0.08
    assert (maps.std(1) - 1).abs().max() < 0.08


def test_constant_map():
    maps = explainers.get("control:ConstantMap").call(nn.Identity(), inputs_of(2, 4), TARGETS)
    assert torch.equal(maps, torch.ones(3, 2, 4).double())
    zeros = explainers.get("control:ConstantMap", value=0).call(
        nn.Identity(), inputs_of(2, 4), TARGETS
    )
    assert torch.equal(zeros, torch.zeros(3, 2, 4).double())


def test_input_itself_is_a_copy():
    inputs = inputs_of(2, 4)
    maps = explainers.get("control:InputItself").call(nn.Identity(), inputs, TARGETS)
    assert torch.equal(maps, inputs)
    maps.zero_()
    assert inputs.abs().sum() > 0
