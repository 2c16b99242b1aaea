"""The registrations of a session: both places add up, and wrong ones are usage errors."""

import pytest

from pytest_xai import checks


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


APPLYING = [
    check.name
    for check in checks.all()
    if check.scope not in {"claimed", "probe"} and "slow" not in check.marks
]


PYPROJECT = """
[tool.pytest_xai]
subjects = { net = "my_model:load_subject" }
explainers = { first = "my_model:gradient", second = "my_model:Gradient" }
"""


def ids(explainers, names, subject="net"):
    return [f"xai::{subject}::{explainer}::{name}" for explainer in explainers for name in names]


def test_a_pyproject_repo_gives_the_same(repo, collected):
    (repo.path / "conftest.py").unlink()
    repo.makepyprojecttoml(PYPROJECT)
    assert collected("--xai") == ids(["first", "second"], APPLYING)


def test_both_places_add_up_with_the_table_first(repo, collected):
    repo.makepyprojecttoml(
        '[tool.pytest_xai]\nsubjects = { other = "my_model:load_subject" }\n'
        'explainers = { third = { spec = "captum:LayerGradCam", layer = "1" } }'
    )
    found = collected("--xai", "--xai-select=shape")
    assert found == [
        *ids(["third", "first", "second"], ["shape"], "other"),
        *ids(["third", "first", "second"], ["shape"]),
    ]
