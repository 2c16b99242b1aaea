"""A tensor in JSON is the same to the bit."""

import json

import pytest
import torch

from pytest_xai.core.packed_tensors import packed, unpacked


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("shape", [(2, 3), (1, 1, 4), (5,), ()])
def test_a_packed_tensor_is_the_same_to_the_bit(dtype, shape):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = (drawn * 1e3).to(dtype)
    again = unpacked(json.loads(json.dumps(packed(values.mT if values.ndim > 1 else values))))
    assert again.dtype == dtype
    assert torch.equal(again.mT if again.ndim > 1 else again, values)


def test_what_a_packed_tensor_looks_like():
    """Shape, dtype and little-endian bytes: 1.0 and -2.0 in float32."""
    entry = {"shape": [1, 2], "dtype": "float32", "base64": "AACAPwAAAMA="}
    assert packed(torch.tensor([[1.0, -2.0]])) == entry
