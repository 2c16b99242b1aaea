"""What can be registered, and what is refused and how."""

import pytest
import torch

import pytest_xai as xai
from pytest_xai.errors import InvalidArgument
from pytest_xai.plugin.model_repo import Expectation, ModelRepo


@pytest.fixture
def registry():
    return ModelRepo()


def explain(model, inputs, targets):
    return inputs


@xai.explainer(name="own", claims={"linearity"})
class Scaled:
    def __init__(self, factor=1.0):
        self.factor = factor

    def __call__(self, model, inputs, targets):
        return self.factor * inputs


class Needy:
    def __init__(self, what):
        self.what = what


def test_an_explainer_gets_its_registered_name_and_keeps_its_traits(registry):
    registry.explainer("mine", Scaled())
    assert registry.explainers["mine"].name == "mine"
    assert registry.explainers["mine"].traits.claims == {"linearity"}


def test_a_class_is_made_with_the_options(registry):
    registry.explainer("twice", Scaled, factor=2.0)
    assert registry.explainers["twice"].call(None, torch.ones(1), None).tolist() == [2.0]


def test_a_gallery_name_takes_options(registry):
    registry.explainer("cam", "captum:LayerGradCam", layer="layer4")
    assert registry.explainers["cam"].name == "cam"


def test_an_attribute_of_a_module_is_imported(registry):
    registry.explainer("sum", "torch.nn.functional:relu")
    registry.explainer("deep", "torch:nn.functional.relu")
    assert registry.explainers["sum"].call is torch.nn.functional.relu
    assert registry.explainers["deep"].call is torch.nn.functional.relu


@pytest.mark.parametrize(
    "explainer, options, message",
    [
        (
            "captum:Salience",
            {},
            "unknown explainer 'captum:Salience'. Did you mean 'captum:Saliency'",
        ),
        ("captum:Saliency", {"stepps": 3}, "captum:Saliency has no option 'stepps'"),
        (
            "no_such_module:f",
            {},
            r"spec: got 'no_such_module:f' \(ModuleNotFoundError: .*\), expected",
        ),
        ("torch:no_such_thing", {}, r"spec: got 'torch:no_such_thing' \(AttributeError: .*\)"),
        ("torch", {}, "unknown explainer 'torch'.*your own is written 'module:attribute'"),
        (Needy, {}, r"explainer 'x': got a class that cannot be made \(.*'what'\)"),
        (3, {}, "explainer: got int, expected a callable"),
        (
            explain,
            {"steps": 3},
            r"got a callable with the options \['steps'\], expected options only",
        ),
    ],
)
def test_what_is_no_explainer_is_refused(registry, explainer, options, message):
    with pytest.raises(InvalidArgument, match=message):
        registry.explainer("x", explainer, **options)


@pytest.mark.parametrize("name", ["", "a b", "a::b", "ä", "a/b", None])
def test_a_malformed_name_is_refused(registry, name):
    with pytest.raises(InvalidArgument, match=r"name of the explainer: got .*, expected letters"):
        registry.explainer(name, explain)
    with pytest.raises(InvalidArgument, match=r"name of the subject: got .*, expected letters"):
        registry.subject(name, explain)


def test_a_second_thing_of_a_name_is_refused(registry):
    registry.explainer("mine", explain)
    with pytest.raises(InvalidArgument, match="explainer 'mine' is registered twice"):
        registry.explainer("mine", explain)
    registry.subject("mine", explain)
    with pytest.raises(InvalidArgument, match="subject 'mine' is registered twice"):
        registry.subject("mine", explain)


def test_a_subject_is_one_or_makes_one(registry):
    with pytest.raises(InvalidArgument, match="subject 'x': got int, expected a Subject or a func"):
        registry.subject("x", 3)
    registry.subject("factory", explain)
    registry.subject("named", "torch:rand")
    assert registry.subjects == {"factory": explain, "named": torch.rand}


@pytest.mark.parametrize("reason", ["", "  ", None])
def test_an_expected_failure_needs_a_reason(registry, reason):
    with pytest.raises(
        InvalidArgument, match="expected failure a::b: reason: got .*, expected a sen"
    ):
        registry.expect_failure("a", "b", reason)


def test_an_expected_failure_is_said_once(registry):
    registry.expect_failure("a", "b", reason="why")
    registry.expect_failure("a", "b", reason="why here", subject="s")
    with pytest.raises(InvalidArgument, match="expected failure a::b is registered twice"):
        registry.expect_failure("a", "b", reason="again")


def test_what_is_expected_of_one_subject_comes_first(registry):
    registry.expect_failure("a", "b", reason="anywhere")
    registry.expect_failure("a", "b", reason="here", subject="s")
    assert registry.expected("s", "a", "b") == "here"
    assert registry.expected("t", "a", "b") == "anywhere"
    assert registry.expected("s", "a", "c") is None


def test_the_table(registry, tmp_path, monkeypatch):
    (tmp_path / "lonely_module.py").write_text(
        "def make(): ...\nclass Explainer:\n  __call__ = make"
    )
    monkeypatch.setattr("sys.path", ["/elsewhere", *__import__("sys").path])
    registry.read_table(
        {
            "subjects": {"s": "lonely_module:make"},
            "explainers": {
                "e": "lonely_module:Explainer",
                "cam": {"spec": "captum:LayerGradCam", "layer": "1"},
            },
            "expected_failures": {"e::b": "why", "s::e::c": "why here"},
        },
        tmp_path,
    )
    assert list(registry.subjects) == ["s"]
    assert list(registry.explainers) == ["e", "cam"]
    assert registry.expectations == [
        Expectation(explainer="e", check="b", reason="why"),
        Expectation(explainer="e", check="c", reason="why here", subject="s"),
    ]


@pytest.mark.parametrize(
    "table, message",
    [
        ({"subjects": {"s": 3}}, r"\[tool.pytest_xai\] subjects.s: got 3, expected a string"),
        ({"explainers": {"e": {"layer": "1"}}}, r"\] explainers.e: got None, expected a string"),
        (
            {"expected_failures": {"guided": "why"}},
            "expected_failures: got 'guided', expected \"expl",
        ),
        ({"expected_failures": {"a::b": 1}}, "expected failure a::b: reason: got 1, expected"),
    ],
)
def test_a_malformed_entry_is_refused(registry, tmp_path, table, message):
    with pytest.raises(InvalidArgument, match=message):
        registry.read_table(table, tmp_path)


STALE = {
    ("nobody", "shape", None): "expected failure nobody::shape: unknown explainer 'nobody'.*first",
    (
        "first",
        "shap",
        None,
    ): "expected failure first::shap: unknown check of explainer 'first' 'sh*",
    ("first", "linearity", None): "expected failure first::linearity: unknown check of explainer *",
    ("first", "shape", "web"): "expected failure first::shape: unknown subject 'web'.*Known: net",
}


@pytest.mark.parametrize("explainer, check, subject", STALE)
def test_a_stale_expected_failure_is_refused(repo, add_to_conftest, explainer, check, subject):
    add_to_conftest(f"""
        register = pytest_xai_register

        def pytest_xai_register(registry):
            register(registry)
            registry.expect_failure({explainer!r}, {check!r}, reason="why", subject={subject!r})
    """)
    result = repo.runpytest("--xai")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {STALE[explainer, check, subject]}*"])


def test_what_the_selection_leaves_out_is_not_stale(repo, collected, add_to_conftest):
    add_to_conftest("""
        register = pytest_xai_register

        def pytest_xai_register(registry):
            register(registry)
            registry.expect_failure("first", "finite", reason="why")
    """)
    assert len(collected("--xai", "--xai-select=shape")) == 2


def test_a_measured_check_may_be_expected_to_fail_where_it_is_selected(repo, add_to_conftest):
    add_to_conftest("""
        register = pytest_xai_register

        def pytest_xai_register(registry):
            register(registry)
            registry.expect_failure("first", "linearity", reason="why")
    """)
    assert repo.runpytest("--xai", "--co", "--xai-select=linearity").ret == 0
    assert repo.runpytest("--xai", "--co").ret == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    "body, message",
    [
        ("registry.explainer('e', 'captum:Salience')", "unknown explainer 'captum:Salience'*"),
        ("1 / 0", "pytest_xai_register raised ZeroDivisionError: division by zero"),
        ("registry.explainer('e', gradient); registry.explainer('e', gradient)", "*twice"),
    ],
)
def test_a_wrong_registration_is_a_usage_error(repo, add_to_conftest, body, message):
    add_to_conftest(f"def pytest_xai_register(registry): {body}")
    result = repo.runpytest("--xai")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_an_unknown_claim_is_a_usage_error(repo, add_to_conftest):
    add_to_conftest("""
        import pytest_xai

        gradient = pytest_xai.explainer(claims={"lineraity"})(gradient)
    """)
    result = repo.runpytest("--xai")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: explainer 'first': unknown claim 'lineraity'. Did you mean*"]
    )
