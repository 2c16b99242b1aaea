import pytest

from pytest_xai import explainers
from pytest_xai.explainers.gallery.catalogue import LIBRARIES


@pytest.mark.parametrize("name", explainers.methods())
def test_a_method_picks_an_explainer_of_the_gallery_and_says_why(name):
    method = explainers.methods()[name]
    assert method.spec in explainers.names()
    assert explainers.get(name).name == method.spec
    assert len(method.reason.split()) > 3
    assert name.isidentifier()
    assert name not in LIBRARIES


def test_options_are_those_of_the_picked_one():
    assert explainers.get("IntegratedGradients", steps=7).traits.cost.startswith("7 forward")
