import dataclasses

import pytest

from pytest_xai import explainers
from pytest_xai.errors import InvalidArgument, UnknownName
from pytest_xai.protocol import Traits, traits_of


def of_gallery(spec, **options):
    return explainers.get(spec, **options).traits


def test_a_function_has_the_claims_and_traits_of_the_method():
    @explainers.like("captum:IntegratedGradients", steps=20)
    def mine(model, inputs, targets, *, baseline):
        return inputs

    expected = of_gallery("captum:IntegratedGradients", steps=20)
    assert expected.claims
    assert traits_of(mine) == dataclasses.replace(expected, library="")
    assert mine.__name__ == "mine"


def test_options_decide_about_claims():
    signed = explainers.like("captum:Saliency", absolute=False)(lambda m, x, t: x)
    assert "linearity" in traits_of(signed).claims
    assert (
        "linearity" not in traits_of(explainers.like("captum:Saliency")(lambda m, x, t: x)).claims
    )


def test_who_takes_no_baseline_is_called_without():
    @explainers.like("captum:IntegratedGradients")
    def mine(model, inputs, targets):
        return inputs

    assert of_gallery("captum:IntegratedGradients").needs_baseline
    assert not traits_of(mine).needs_baseline


@pytest.mark.parametrize("takes", [True, False])
def test_a_class_is_asked_by_its_call(takes):
    class Plain:
        def __call__(self, model, inputs, targets): ...

    class WithBaseline:
        def __call__(self, model, inputs, targets, *, baseline): ...

    described = explainers.like("captum:DeepLift")(WithBaseline if takes else Plain)
    assert traits_of(described()).needs_baseline == takes
    assert traits_of(described()).claims == of_gallery("captum:DeepLift").claims


def test_stochastic_methods_stay_so():
    assert traits_of(explainers.like("captum:SmoothGrad")(lambda m, x, t: x)).stochastic


def test_methods_without_a_library_are_known():
    name, method = next(iter(explainers.methods().items()))
    traits = traits_of(explainers.like(name)(lambda m, x, t: x))
    assert traits.claims == of_gallery(method.spec).claims


def test_unknown_names_and_options_are_refused():
    with pytest.raises(UnknownName, match="Did you mean 'captum:Saliency'"):
        explainers.like("captum:Salience")
    with pytest.raises(InvalidArgument, match="has no option 'step'"):
        explainers.like("captum:IntegratedGradients", step=3)


def test_what_was_not_described_has_no_traits():
    assert traits_of(lambda m, x, t: x) == Traits()
