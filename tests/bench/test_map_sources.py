"""Maps are made by calls batch by batch, or read from a store that refuses other requests."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pytest_xai import Subject
from pytest_xai.bench.images import Images
from pytest_xai.bench.map_sources import Request, source_of
from pytest_xai.errors import InvalidAttribution, NotApplicable
from pytest_xai.explainers.stored import from_maps
from pytest_xai.protocol import named

MAPS = torch.arange(40.0)[:, None].expand(40, 3).half()


def request_of(**options):
    torch.manual_seed(0)
    subject = Subject(
        nn.Linear(3, 2), torch.randn(40, 3), targets=torch.arange(40) % 2, baseline=0.5
    )
    images = Images.shuffled(subject, 0).view(0, 38)
    own = {"inputs": images.inputs, "targets": images.targets, "baseline": images.baseline}
    return Request(images=images, **(own | options))


def never(*_):
    raise AssertionError("the explainer of stored maps was called")


LIVE = source_of(named(lambda model, inputs, targets: inputs, "live"))
STORED = source_of(from_maps(MAPS))

# ---------------------------------------------------------------------------------- the request


CHANGES = {
    "inputs": lambda request: replace(request, inputs=request.inputs + 1),
    "targets": lambda request: replace(request, targets=1 - request.targets),
    "baseline": lambda request: replace(request, baseline=request.baseline + 1),
    "draw": lambda request: replace(request, draw=1),
    "model": lambda request: replace(request, other_model=True),
    "dtype": lambda request: replace(request, inputs=request.inputs.double() + 1e-9),
    "shape": lambda request: replace(request, inputs=request.inputs[:, :2]),
}


def test_a_request_for_the_images_themselves_is_original():
    request = request_of()
    assert request.is_original()
    assert replace(request, inputs=request.inputs.clone()).is_original()


@pytest.mark.parametrize("change", CHANGES)
def test_any_other_request_is_not(change):
    assert not CHANGES[change](request_of()).is_original()


# ------------------------------------------------------------------------ explainers to be called


def test_an_explainer_is_called_batch_by_batch():
    calls = []

    def call(inputs, targets, baseline, offset):
        calls.append((len(inputs), offset))
        return (inputs + targets[:, None] - baseline).numpy()

    request = request_of(inputs=torch.rand(38, 3))
    found = LIVE.maps(request, call)
    assert torch.equal(found, request.inputs + request.targets[:, None] - request.baseline)
    assert calls == [(32, 0), (6, 32)]


def test_offsets_follow_batches_that_were_halved():
    offsets = []

    def call(inputs, targets, baseline, offset):
        if len(inputs) > 20:
            raise MemoryError
        offsets.append(offset)
        return inputs

    LIVE.maps(request_of(), call)
    assert offsets == [0, 16, 32]


def test_its_output_is_that_of_one_call_unchanged():
    output, calls = object(), []

    def call(inputs, targets, baseline, offset):
        calls.append((len(inputs), offset))
        return output

    assert LIVE.output(request_of(), call) is output
    assert calls == [(38, 0)]
    with pytest.raises(InvalidAttribution):
        LIVE.maps(request_of(), call)


def test_new_maps_are_not_rounded():
    assert LIVE.makes_new
    assert LIVE.rounding(torch.float16) == 0


# ------------------------------------------------------------------------------------ stored maps


def test_stored_maps_are_read_in_the_order_of_the_images():
    request = request_of()
    expected = MAPS[request.images.indices]
    for found in (STORED.output(request, never), STORED.maps(request, never)):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("change", CHANGES)
def test_requests_for_maps_that_are_not_stored_are_refused(change):
    for read in (STORED.maps, STORED.output):
        with pytest.raises(NotApplicable, match="needs new explanations; these maps are stored"):
            read(CHANGES[change](request_of()), never)


def test_stored_maps_of_another_shape_are_no_maps():
    source = source_of(from_maps(torch.rand(40, 2)))
    assert source.output(request_of(), never).shape == (38, 2)
    with pytest.raises(InvalidAttribution, match=r"shape \(38, 2\)"):
        source.maps(request_of(), never)


def test_stored_values_are_rounded_to_half_a_unit():
    assert not STORED.makes_new
    assert STORED.rounding(torch.float16) == 2**-11
    assert STORED.rounding(torch.float32) == 2**-24
