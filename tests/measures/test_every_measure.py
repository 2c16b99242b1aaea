"""What all measures of two maps have in common."""

from functools import partial

import pytest
import torch

from fixtures.loops import in_one_test
from pytest_xai import measures
from pytest_xai.errors import InvalidArgument

SCALE_FREE = {
    "centre_of_mass_shift": measures.centre_of_mass_shift,
    "cosine": measures.cosine,
    "dice": measures.dice,
    "earth_mover": measures.earth_mover,
    "hog": measures.hog,
    "iou": measures.iou,
    "kendall": measures.kendall,
    "l1_distance": measures.l1_distance,
    "pearson": measures.pearson,
    "spearman": measures.spearman,
    "ssim": measures.ssim,
    "topk_intersection": measures.topk_intersection,
}
# What is smooth in the values of the maps has a derivative.
SMOOTH = {
    name: SCALE_FREE[name]
    for name in ("centre_of_mass_shift", "cosine", "l1_distance", "pearson", "ssim")
} | {"relative_difference": measures.relative_difference}
OF_TWO_MAPS = {
    **SCALE_FREE,
    "relative_difference": measures.relative_difference,
    "share_beyond": partial(measures.share_beyond, rtol=0.25),
}
SHAPE = (4, 3, 9, 8)

every = in_one_test("measure", OF_TWO_MAPS.values())
every_scale_free = in_one_test("measure", SCALE_FREE.values())


def two_maps(dtype=torch.float64, shape=SHAPE):
    generator = torch.Generator().manual_seed(3)
    a = torch.randn(shape, generator=generator, dtype=torch.float64)
    b = a + torch.randn(shape, generator=generator, dtype=torch.float64)
    return a.to(dtype), b.to(dtype)


def test_public_names_are_in_alphabetical_order():
    assert measures.__all__ == sorted(measures.__all__)
    of_masks = {"dice_of_masks", "iou_of_masks", "mass_inside", "pointing_game", "topk_mask"}
    of_one_map = {"centre_of_mass", "spatial"}
    assert {*OF_TWO_MAPS, *of_masks, *of_one_map} == set(measures.__all__)


@every
@in_one_test("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_computes_one_float64_value_per_image(measure, dtype):
    a, b = two_maps(dtype)
    values = measure(a, b)
    assert values.shape == (4,)
    assert values.dtype == torch.float64
    assert values.isfinite().all()
    assert torch.equal(values, measure(a.double(), b.double()))


@every
def test_takes_two_maps_of_different_dtype(measure):
    a, b = two_maps(torch.float32)
    assert torch.equal(measure(a, b.double()), measure(a, b))


@every
def test_an_image_does_not_depend_on_its_batch(measure):
    a, b = two_maps()
    alone = torch.cat([measure(a[n : n + 1], b[n : n + 1]) for n in range(4)])
    torch.testing.assert_close(measure(a, b), alone, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(measure(a.flip(0), b.flip(0)), alone.flip(0), rtol=1e-13, atol=1e-13)
    assert len(set(alone.tolist())) > 1


@every
@in_one_test("value", [torch.nan, torch.inf, -torch.inf])
@in_one_test("which", [0, 1])
def test_a_map_with_nan_or_inf_gives_nan_for_that_image_only(measure, value, which):
    maps = two_maps()
    expected = measure(*maps)
    expected[2] = torch.nan
    maps[which][2, 1, 0, 0] = value  # in a corner: few windows of ssim hold it
    assert torch.equal(measure(*maps).nan_to_num(99.0), expected.nan_to_num(99.0))


@every
def test_a_map_of_infinities_only_gives_nan(measure):
    a, b = two_maps()
    a[1], b[1] = torch.inf, torch.inf
    assert measure(a, b).isnan().tolist() == [False, True, False, False]


@every
def test_memory_layout_makes_no_difference(measure):
    a, b = two_maps()
    strided = measure(a.contiguous(memory_format=torch.channels_last), b)
    torch.testing.assert_close(strided, measure(a, b), rtol=1e-13, atol=1e-13)


@in_one_test("name, measure", OF_TWO_MAPS.items())
def test_only_smooth_measures_have_a_gradient_and_only_of_maps_that_ask_for_one(name, measure):
    a, b = two_maps()
    assert not measure(a, b).requires_grad
    assert measure(a.requires_grad_(), b).requires_grad == (name in SMOOTH)
    assert measure(b, a).requires_grad == (name in SMOOTH)


@every
def test_does_not_change_its_arguments(measure):
    a, b = two_maps()
    before = a.clone(), b.clone()
    measure(a, b)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


every_smooth = in_one_test("measure", SMOOTH.values())


@every_smooth
def test_the_gradient_is_that_of_finite_differences(measure):
    a, b = (each.requires_grad_() for each in two_maps(shape=(2, 2, 4, 3)))
    assert torch.autograd.gradcheck(measure, (a, b), atol=1e-6)


@every_smooth
def test_an_image_without_a_value_spoils_no_other_images_gradient(measure):
    a, b = two_maps()
    (expected,) = torch.autograd.grad(measure(a.requires_grad_(), b).sum(), a)
    spoilt = a.detach().clone()
    spoilt[1], spoilt[2, 0, 0, 0] = 0.0, torch.nan
    values = measure(spoilt.requires_grad_(), b)
    (found,) = torch.autograd.grad(values[values.isfinite()].sum(), spoilt)
    torch.testing.assert_close(found[[0, 3]], expected[[0, 3]], rtol=1e-12, atol=1e-12)
    assert expected[0].any()


@every
def test_an_empty_batch_has_no_values(measure):
    assert measure(torch.zeros(0, 3, 9, 8), torch.zeros(0, 3, 9, 8)).shape == (0,)


@every_scale_free
@in_one_test("scale", [1e-300, 1e-20, 7.0, 1e307])
def test_scale_of_either_map_makes_no_difference(measure, scale):
    a, b = two_maps()
    expected = measure(a, b)
    torch.testing.assert_close(measure(a * scale, b), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(measure(a, b * scale), expected, rtol=1e-12, atol=1e-12)


@every_scale_free
def test_order_of_the_maps_makes_no_difference(measure):
    a, b = two_maps()
    torch.testing.assert_close(measure(a, b), measure(b, a), rtol=1e-14, atol=1e-14)


BAD = {
    "not a tensor": ([[1.0]], "list"),
    "integers": (torch.ones(4, 3, 9, 8, dtype=torch.int64), "torch.int64"),
    "complex": (torch.ones(4, 3, 9, 8, dtype=torch.complex64), "torch.complex64"),
    "no map": (torch.ones(4), r"shape \(4,\)"),
    "empty maps": (torch.ones(4, 0), r"shape \(4, 0\)"),
}


@every
@in_one_test("which", [0, 1])
@in_one_test("bad, got", BAD.values())
def test_refuses_what_is_no_batch_of_maps(measure, which, bad, got):
    maps = list(two_maps())
    maps[which] = bad
    name = ("map_a", "map_b")[which]
    with pytest.raises(InvalidArgument, match=rf"^{name}: got .*{got}, expected a floating tensor"):
        measure(*maps)


@every
def test_refuses_maps_of_different_shapes(measure):
    a, b = two_maps()
    expected = r"map_b: got shape \(4, 3, 9\), expected \(4, 3, 9, 8\), the shape of map_a"
    with pytest.raises(InvalidArgument, match=expected):
        measure(a, b[..., 0])
    with pytest.raises(InvalidArgument, match=r"map_b: got shape \(1, 3, 9, 8\)"):
        measure(a, b[:1])


@every
def test_refuses_maps_on_different_devices(measure):
    a, b = two_maps()
    with pytest.raises(InvalidArgument, match="map_b: got device meta, expected cpu"):
        measure(a, b.to("meta"))


@pytest.mark.gpu
@every
def test_computes_where_the_maps_are(measure):
    a, b = two_maps(torch.float32)
    values = measure(a.cuda(), b.cuda())
    assert values.is_cuda
    torch.testing.assert_close(values.cpu(), measure(a, b), rtol=1e-12, atol=1e-12)
