"""The search without gradients, on losses written down."""

import pytest
import torch

from pytest_xai.attacks.fooling.evolution import evolve
from pytest_xai.attacks.fooling.worst import Ball
from pytest_xai.subjects import load_digits


class Scripted:
    """Judges candidates by how far they go against one pattern of signs, in [-1, 1]."""

    def __init__(self, bench, least):
        self.ball = Ball(centre=bench.inputs, bounds=(-9.0, 9.0), size=0.1)
        self.least = least
        random = torch.Generator().manual_seed(3)
        self.pattern = 2.0 * torch.randint(2, bench.inputs.shape[1:], generator=random) - 1
        self.losses = []

    def offer(self, candidates):
        assert self.ball.contains(candidates).all()
        change = (candidates - self.ball.centre) / self.ball.size
        assert torch.allclose(change.abs(), torch.ones(()), atol=1e-5)  # corners of the ball
        self.losses.append((change * self.pattern).flatten(1).mean(1))
        return self.losses[-1] > self.least, self.losses[-1]


def searched(bench_of, *, least):
    bench = bench_of(load_digits(16))
    judge = Scripted(bench, least)
    evolve(bench, None, judge, tries=64)
    assert len(judge.losses) == 64
    return torch.stack(judge.losses)


def test_children_grow_better(bench_of):
    losses = searched(bench_of, least=-2.0)
    assert losses[0].mean().abs() < 0.1
    assert losses[-16:].mean() < -0.4
    # The best so far is the parent: later children are near to it.
    assert (losses[-1] - losses.amin(0)).mean() < 0.1


def test_a_child_that_does_not_count_has_no_children(bench_of):
    losses = searched(bench_of, least=-0.25)
    assert losses[-16:].mean().item() == pytest.approx(-0.22, abs=0.08)
    assert losses[-16:].min() > -0.6


def test_until_one_counts_every_child_is_followed(bench_of):
    """The search wanders instead of trying what does not count again and again."""
    losses = searched(bench_of, least=2.0)
    assert (losses[-1] - losses[0]).abs().mean() > 0.08
