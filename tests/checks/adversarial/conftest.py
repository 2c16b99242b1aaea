"""Helpers for the tests of checks under attack: top masks, Dice and other images by hand."""

import pytest
import torch


def top_tenth(maps):
    """The mask of the largest tenth of each map, by sorting; no map here has ties at the edge."""
    rows = maps.double().sum(1).flatten(1) if maps.ndim > 2 else maps.double()
    count = -(-rows.shape[1] // 10)
    mask = torch.zeros_like(rows, dtype=torch.bool)
    return mask.scatter(1, rows.argsort(1, descending=True)[:, :count], value=True)


def overlap(a, b):
    """Dice of two batches of maps by their definition."""
    a, b = top_tenth(a), top_tenth(b)
    return 2 * (a & b).sum(1) / (a.sum(1) + b.sum(1))


@pytest.fixture
def dice_by_hand():
    return overlap


@pytest.fixture
def following():
    """Places of the nearest following images of another target."""

    def find(targets):
        targets = targets.tolist()
        count = len(targets)
        return [
            next(
                (place + step) % count
                for step in range(1, count)
                if targets[(place + step) % count] != targets[place]
            )
            for place in range(count)
        ]

    return find
