"""Shared tensors are made once, returned as copies, and charged to every verdict that uses them."""

import gc
import weakref

import pytest
import torch

from pytest_xai.bench.artefacts import Artefacts
from pytest_xai.bench.budget import Costs, OutOfBudget


class Made:
    """Makers of tensors, which count their calls and charge as many evaluations as images."""

    def __init__(self, costs):
        self.costs = costs
        self.spans = []

    def maker(self, start, count, make):
        def made():
            self.spans.append((start, count))
            self.costs.charge(count)
            return make(torch.arange(start, start + count))

        return made

    def makers(self, *spans, make=lambda rows: 2.0 * rows):
        return {span: self.maker(*span, make) for span in spans}


def shop():
    costs = Costs()
    return costs, Artefacts(costs, owner="model"), Made(costs)


# ---------------------------------------------------------------------------------------- share


def test_chunks_are_made_once_and_put_together_in_order():
    _, artefacts, made = shop()
    makers = made.makers((0, 3), (3, 2))
    for _ in range(2):
        assert artefacts.share("twice", makers).tolist() == [0, 2, 4, 6, 8]
    assert artefacts.share("twice", made.makers((3, 2))).tolist() == [6, 8]
    assert made.spans == [(0, 3), (3, 2)]


def test_other_keys_and_other_chunks_are_other_tensors():
    _, artefacts, made = shop()
    artefacts.share("a", made.makers((0, 3)))
    artefacts.share("b", made.makers((0, 3)))
    assert artefacts.share("a", made.makers((0, 2))).tolist() == [0, 2]
    assert artefacts.share("a", made.makers((1, 3))).tolist() == [2, 4, 6]
    assert made.spans == [(0, 3), (0, 3), (0, 2), (1, 3)]


def test_several_named_tensors_are_shared_under_one_key():
    _, artefacts, made = shop()

    def make(rows):
        return {"rows": rows, "wide": torch.stack([rows, -rows], 1).double()}

    for _ in range(2):
        found = artefacts.share("pair", made.makers((0, 3), (3, 1), make=make))
        assert found["rows"].tolist() == [0, 1, 2, 3]
        assert found["wide"].tolist() == [[0, 0], [1, -1], [2, -2], [3, -3]]
        assert found["wide"].dtype == torch.float64
        assert list(found) == ["rows", "wide"]
    assert made.spans == [(0, 3), (3, 1)]


@pytest.mark.parametrize("spans", [[(0, 3)], [(0, 2), (2, 1)]])
@pytest.mark.parametrize("is_named", [False, True])
def test_the_caller_may_change_what_it_gets(spans, is_named):
    _, artefacts, made = shop()

    def share():
        found = artefacts.share(
            "a", made.makers(*spans, make=lambda rows: {"x": rows} if is_named else rows)
        )
        return found["x"] if is_named else found

    share().zero_()
    assert share().tolist() == [0, 1, 2]


# -------------------------------------------------------------------------------------- charges


def test_every_verdict_is_charged_once_for_what_it_uses():
    costs, artefacts, made = shop()
    makers = made.makers((0, 3), (3, 2))
    for _ in range(2):
        with costs.limited(None) as budget:
            artefacts.share("a", makers)
            artefacts.share("a", makers)
            assert budget.charged == 5
    with costs.limited(4) as budget, pytest.raises(OutOfBudget):
        artefacts.share("a", makers)
    assert budget.charged == 3


def test_a_tensor_made_from_another_costs_both():
    costs, artefacts, made = shop()
    inner = made.makers((0, 3))

    def outer(rows):
        return artefacts.share("inner", inner) + rows

    makers = made.makers((0, 3), make=outer)
    artefacts.share("outer", makers)
    with costs.limited(None) as budget:
        assert artefacts.share("outer", makers).tolist() == [0, 3, 6]
    assert budget.charged == 6


def test_artefacts_of_two_models_have_costs_of_their_own():
    costs, artefacts, made = shop()
    copy = Artefacts(costs, owner="float64 copy")
    artefacts.share("a", made.makers((0, 3)))
    double = copy.share("a", made.makers((0, 3), make=lambda rows: rows.double()))
    assert double.dtype == torch.float64
    assert artefacts.share("a", made.makers((0, 3))).dtype == torch.float32
    assert costs.budget.charged == 6


def test_a_maker_that_raises_is_called_again():
    costs, artefacts, _ = shop()

    def fails():
        costs.charge(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        artefacts.once("a", fails)
    with costs.limited(None) as budget:
        assert artefacts.once("a", lambda: torch.ones(2)).tolist() == [1, 1]
    assert budget.charged == 0


# ----------------------------------------------------------------------------------- keep_alive


def test_objects_whose_identity_is_a_key_live_as_long_as_the_artefacts():
    class Call:
        pass

    _, artefacts, _ = shop()
    call = Call()
    identity, alive = artefacts.keep_alive(call), weakref.ref(call)
    assert identity == id(call)
    del call
    gc.collect()
    assert alive() is not None
    del artefacts
    gc.collect()
    assert alive() is None
