"""Small perturbations change the map little on average."""

import torch

from fixtures.right import gradient, input_x_gradient
from fixtures.wrong.robustness import turned_once_in

CHECK = "avg_sensitivity"


def test_a_right_explainer_passes(verdict, digits):
    passed = verdict(CHECK, input_x_gradient, digits)
    assert (passed.outcome, passed.figure, passed.limit) == ("passed", 0.0, 0.5)


def test_a_jump_of_every_other_copy_fails_and_a_rare_one_does_not(verdict, digits, table):
    failed = verdict(CHECK, turned_once_in(2), digits)
    assert failed.outcome == "failed"
    assert failed.figure > 0.7
    assert failed.reason.startswith("Nearly every imperceptible perturbation changes the map")
    assert verdict(CHECK, turned_once_in(8), table).outcome == "passed"


def test_the_gradient_of_a_linear_model_never_changes(finding, proportional):
    found, _ = finding(CHECK, gradient, proportional)
    assert (found.values == 0).all()


def test_the_figure_is_the_mean_over_the_copies_that_count(finding, recorder, table):
    asked = recorder(input_x_gradient)
    found, bench = finding(CHECK, asked, table)
    own, *others = (maps.flatten(1) for maps in asked.maps)
    held = [bench.predictions(each) == bench.predictions() for each in asked.inputs[1:]]
    for row, value in enumerate(found.values):
        changes = [
            (each[row] - own[row]).norm() / own[row].norm()
            for each, same in zip(others, held, strict=True)
            if same[row]
        ]
        assert torch.isclose(value, torch.stack(changes).mean())
    largest = finding("max_sensitivity", input_x_gradient, table)[0].values
    assert torch.allclose(found.facts["largest relative change"], largest)
    assert (found.values < largest).all()
