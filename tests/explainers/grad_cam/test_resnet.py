import pytest
import torch

from pytest_xai.explainers.grad_cam import ENTRIES

LAYERED = [spec for spec in ENTRIES if spec != "gradcam:FullGrad"]


def explain(spec, **options):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    model = models.resnet18().eval()
    inputs = torch.randn(2, 3, 64, 64)
    # A negative output would turn the signs of Ablation-CAM.
    return ENTRIES[spec].factory(**options)(model, inputs, model(inputs).argmax(1))


@pytest.mark.slow
@pytest.mark.parametrize("spec", list(ENTRIES))
def test_last_convolution_of_a_residual_network(spec):
    maps = explain(spec)
    assert maps.shape == (2, 1, 64, 64)
    assert torch.isfinite(maps).all()
    assert maps.min() == 0
    assert maps.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("spec", LAYERED)
def test_inner_layer_of_a_residual_network(spec):
    maps = explain(spec, layer="layer3")
    assert torch.isfinite(maps).all()
    assert (maps.amin((1, 2, 3)) == 0).all()
    assert (maps.amax((1, 2, 3)) > 0.99).all()
