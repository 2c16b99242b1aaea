import pytest
import torch

from pytest_xai.measures.arguments import as_float64, float64_device, only_finite


@pytest.mark.parametrize("name, expected", [("cpu", "cpu"), ("cuda:1", "cuda:1"), ("mps", "cpu")])
def test_float64_is_computed_where_it_exists(name, expected):
    assert float64_device(torch.device(name)) == torch.device(expected)


def test_as_float64_keeps_the_values_and_the_graph():
    tensor = torch.tensor([[0.1, 2.0]], dtype=torch.float32, requires_grad=True)
    converted = as_float64(tensor)
    assert converted.dtype == torch.float64
    assert converted.requires_grad
    assert not as_float64(tensor.detach()).requires_grad
    assert converted.tolist() == tensor.tolist()


def test_only_finite_looks_at_every_map_and_leaves_its_argument_alone():
    values = torch.tensor([1.0, 2.0, 3.0])
    a = torch.tensor([[0.0, 0.0], [0.0, torch.inf], [0.0, 0.0]])
    b = torch.tensor([[torch.nan, 0.0], [0.0, 0.0], [0.0, 0.0]])
    assert only_finite(values, a, b).isnan().tolist() == [True, True, False]
    assert only_finite(values, b).isnan().tolist() == [True, False, False]
    assert values.tolist() == [1.0, 2.0, 3.0]
