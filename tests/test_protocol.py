"""The decorator that describes explainers, the traits that it sets, and names in reports."""

import dataclasses
from functools import partial

import pytest
from torch import nn

from pytest_xai.errors import InvalidArgument
from pytest_xai.protocol import (
    Explainer,
    NamedExplainer,
    Traits,
    explainer,
    named,
    traits_of,
)

EVERYTHING = {
    "name": "ig",
    "claims": {"summation_to_delta", "dummy_feature", "sign_convention"},
    "sign": "evidence",
    "method": "integrated_gradients",
    "stochastic": True,
    "class_agnostic": True,
    "needs_baseline": True,
    "source": "sundararajan2017",
    "cost": "50 forward + 50 backward",
    "library": "captum 0.9.0",
}


def plain(model, inputs, targets):
    return inputs


class Kind:
    def __call__(self, model, inputs, targets):
        return inputs


# ------------------------------------------------------------------------------------ the decorator


def test_nothing_said_is_nothing_claimed():
    assert Traits() == Traits(
        name=None,
        claims=frozenset(),
        sign=None,
        method=None,
        stochastic=False,
        class_agnostic=False,
        needs_baseline=False,
        source="",
        cost="",
        library="",
    )


@pytest.mark.parametrize("decorate", [explainer, explainer()], ids=["bare", "called"])
@pytest.mark.parametrize("kind", ["function", "class", "instance"])
def test_the_decorator_returns_the_object_itself_with_its_traits(decorate, kind):
    class Local(Kind):
        pass

    made = {"function": partial(plain), "class": Local, "instance": Local()}
    assert decorate(made[kind]) is made[kind]
    assert vars(made[kind])["__xai_traits__"] == Traits()


def test_every_argument_of_the_decorator_is_a_trait():
    described = explainer(**EVERYTHING)(partial(plain))
    expected = {**EVERYTHING, "claims": frozenset(EVERYTHING["claims"])}
    assert dataclasses.asdict(traits_of(described)) == expected


@pytest.mark.parametrize(
    "claims", [["a", "b"], ("b", "a"), {"a", "b"}, iter("ab"), {"a": 1, "b": 2}.keys()]
)
def test_claims_are_any_collection_of_names(claims):
    described = explainer(claims=claims)(partial(plain))
    assert traits_of(described).claims == frozenset({"a", "b"})


def test_claims_are_not_one_string_which_would_be_a_set_of_letters():
    with pytest.raises(InvalidArgument) as caught:
        explainer(claims="dummy_feature")
    assert str(caught.value) == "claims: got 'dummy_feature', expected a set of names of checks"


@pytest.mark.parametrize("sign", ["non_negative", "evidence"])
def test_to_declare_a_sign_is_to_claim_it(sign):
    described = traits_of(explainer(sign=sign, claims=["a"])(partial(plain)))
    assert described.sign == sign
    assert described.claims == {"a", "sign_convention"}
    assert Traits(sign=sign).claims == {"sign_convention"}
    assert Traits().claims == Traits(sign=None).claims == set()


@pytest.mark.parametrize("sign", ["positive", "", 1, True, ["evidence"]])
def test_another_sign_is_refused(sign):
    with pytest.raises(InvalidArgument) as caught:
        explainer(sign=sign)
    assert str(caught.value) == (
        f"sign: got {sign!r}, expected one of ('non_negative', 'evidence'), or None to "
        "declare no meaning"
    )


def test_traits_of_a_class_are_those_of_its_instances_and_subclasses():
    @explainer(method="gradient")
    class Decorated(Kind):
        pass

    class Child(Decorated):
        pass

    assert traits_of(Decorated()).method == traits_of(Child()).method == "gradient"


@pytest.mark.parametrize("thing", [plain, Kind(), 3, None])
def test_what_was_not_decorated_has_the_default_traits(thing):
    assert traits_of(thing) == Traits()


@pytest.mark.parametrize("thing", [Kind().__call__, len, object(), 3])
def test_what_takes_no_attributes_is_refused_by_the_decorator(thing):
    with pytest.raises(InvalidArgument) as caught:
        explainer(thing)
    assert str(caught.value) == (
        f"explainer: got a {type(thing).__name__}, on which no attribute can be set, "
        "expected a function, a class or an instance; wrap it in a function"
    )


def test_an_attribute_of_that_name_that_is_no_traits_is_not_believed():
    odd = Kind()
    odd.__xai_traits__ = {"claims": "all of them"}
    assert traits_of(odd) == Traits()


def test_functions_classes_and_modules_are_explainers():
    assert isinstance(plain, Explainer)
    assert isinstance(Kind(), Explainer)
    assert isinstance(nn.Identity(), Explainer)
    assert not isinstance(3, Explainer)


# ----------------------------------------------------------------------------------------- the name


def test_the_name_is_the_one_given_else_the_decorators_else_the_callables():
    described = explainer(name="ig")(partial(plain))
    assert named(described, "mine").name == "mine"
    assert named(described).name == "ig"
    assert named(plain).name == "plain"
    assert named(Kind()).name == "Kind"
    assert named(partial(plain)).name == "partial"


def test_a_named_explainer_has_the_callable_and_its_traits():
    described = explainer(**EVERYTHING)(partial(plain))
    found = named(described)
    assert found.call is described
    assert found.traits is traits_of(described)
    assert named(plain).traits == Traits()


def test_a_named_explainer_keeps_its_name_unless_another_is_given():
    first = NamedExplainer(name="first", call=plain, traits=Traits(stochastic=True))
    assert named(first) is first
    second = named(first, "second")
    assert (second.name, second.call, second.traits) == ("second", plain, first.traits)
    assert first.name == "first"


@pytest.mark.parametrize(
    "thing, message",
    [
        (Kind, "explainer: got the class Kind, expected an instance of it: Kind()"),
        (3, "got int, expected a callable explainer(model, inputs, targets) -> attributions"),
        (None, "got NoneType, expected a callable"),
        ("saliency", "got str, expected a callable"),
    ],
)
def test_what_cannot_be_called_as_an_explainer_is_refused(thing, message):
    with pytest.raises(InvalidArgument) as caught:
        named(thing)
    assert str(caught.value).startswith("explainer: got ")
    assert message in str(caught.value)
