"""The map becomes more complex when all weights are re-initialised."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipy_entropy

from fixtures.right import gradient, occlusion
from pytest_xai import explainers
from pytest_xai.checks.randomisation.efficient_mprt import entropy

CHECK = "efficient_mprt"


@pytest.mark.parametrize("explainer", [gradient, occlusion], ids=["gradient", "occlusion"])
def test_right_explainers_pass(explainer, verdict, digits):
    assert verdict(CHECK, explainer, digits).outcome == "passed"


@pytest.mark.parametrize("spec", ["control:EdgeDetector", "control:InputItself"])
def test_what_does_not_look_at_the_model_fails(spec, verdict, digits):
    failed = verdict(CHECK, explainers.get(spec), digits)
    assert (failed.outcome, failed.figure) == ("failed", 0)


def test_a_map_that_is_always_constant_never_becomes_more_complex(verdict, digits):
    failed = verdict(CHECK, explainers.get("control:ConstantMap"), digits)
    assert (failed.outcome, failed.figure) == ("failed", 0)


def by_numpy(row):
    counts, _ = np.histogram(row.flatten().numpy(), bins=100)
    return scipy_entropy(counts)


@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (6, 3, 5, 5), (6, 300)])
def test_the_entropy_is_that_of_a_histogram_of_100_bins(shape):
    torch.manual_seed(0)
    maps = torch.randn(shape).double()
    expected = torch.tensor([by_numpy(row) for row in maps])
    assert torch.allclose(entropy(maps), expected)
    # Whatever its scale and its offset.
    assert torch.allclose(entropy(1e6 * maps - 3), expected, atol=0.1)


def test_the_entropy_of_a_constant_is_0():
    assert entropy(torch.full((2, 1, 4, 4), 0.1)).tolist() == [0, 0]


def test_the_figure_is_the_share_of_draws_that_raise_the_entropy(finding, digits, by_hand):
    _, reinitialised, halves = by_hand
    found, bench = finding(CHECK, gradient, digits)
    names = ["conv1", "conv2", "fc1", "fc2"]
    before, after, lasts = [], [], []
    for group in halves(bench):
        before += [by_numpy(m) for m in gradient(digits.model, group.inputs, group.targets)]
        draws = [
            gradient(reinitialised(group, names, draw=draw), group.inputs, group.targets)
            for draw in range(4)
        ]
        after += [[by_numpy(maps[place]) for maps in draws] for place in range(16)]
        lasts.append(draws[-1])
    ordered, disordered = torch.tensor(before)[:, None], torch.tensor(after)
    assert torch.allclose(found.values, (disordered > ordered).double().mean(1))
    relative = ((disordered - ordered) / ordered).mean(1)
    assert torch.allclose(found.facts["relative rise of the entropy"], relative)
    assert torch.allclose(
        found.facts["entropy of the map after re-initialising all layers"], disordered.mean(1)
    )
    assert torch.equal(found.tensors["map after re-initialising all layers"], torch.cat(lasts))
    assert found.limits == 0.5
