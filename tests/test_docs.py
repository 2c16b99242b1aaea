"""The documentation's examples do what the text around them says."""

import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

# `pytester` forgets what is first imported within a test, and neither numpy nor hypothesis can be
# imported twice.
import pytest_xai.engine.exploration
import pytest_xai.strategies  # noqa: F401

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parents[1] / "docs"


def files_of(page: str) -> list[tuple[str, str]]:
    """The page's code blocks that begin with the name of their file, in order."""
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(
        r"^```(?:python|toml)\n(# ([\w.]+)\n.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    return [(name, block) for block, name in blocks]


def outcomes(pytester: pytest.Pytester, *options: str) -> dict[str, str]:
    """Outcomes of a run of the gate in a process of its own, by explainer::check."""
    pytester.runpytest_subprocess("--xai", "--xai-json", "report.json", *options)
    report = json.loads(Path(pytester.path, "report.json").read_text("utf-8"))
    return {f"{row['explainer']}::{row['check']}": row["outcome"] for row in report["results"]}


@pytest.mark.slow
def test_the_tutorial_ends_each_section_as_it_says(pytester: pytest.Pytester) -> None:
    bars, naive, registration, mended = files_of("tutorial.md")
    for name, text in (bars, naive, registration):
        Path(pytester.path, name).write_text(text, "utf-8")

    found = outcomes(pytester)
    assert {key for key, outcome in found.items() if outcome == "failed"} == {
        "mine::error_path_clean",
        "mine::input_untouched",
        "mine::side_effects",
        "mine::target_sensitive",
        "mine::random_logit",
    }

    assert mended[0] == naive[0]
    Path(pytester.path, mended[0]).write_text(mended[1], "utf-8")
    found = outcomes(pytester)
    not_green = {
        "data_randomisation": "not_applicable",
        "random_logit": "undecided",
    }
    if not torch.cuda.is_available():
        not_green["device_consistent"] = "not_applicable"
    assert {key: outcome for key, outcome in found.items() if outcome != "passed"} == {
        f"{explainer}::{check}": outcome
        for explainer in ("mine", "ig")
        for check, outcome in not_green.items()
    }

    boasting = mended[1].replace('"linearity"', '"linearity", "summation_to_delta"')
    Path(pytester.path, mended[0]).write_text(boasting, "utf-8")
    claimed = outcomes(pytester, "-k", "mine and summation_to_delta")
    assert claimed == {"mine::summation_to_delta": "failed"}


@pytest.mark.slow
def test_the_check_of_the_how_to_tells_controls_apart(pytester: pytest.Pytester) -> None:
    [(name, text)] = files_of("how-to/write-a-check.md")
    Path(pytester.path, name).write_text(text, "utf-8")
    found = outcomes(pytester, "--xai-demo", "-k", "border_spared and (saliency or random_map)")
    assert found == {"saliency::border_spared": "passed", "random_map::border_spared": "undecided"}


@pytest.mark.slow
def test_the_how_to_on_networks_shows_a_defect_and_a_network_that_has_it(
    pytester: pytest.Pytester,
) -> None:
    page = "how-to/generate-networks.md"
    [(name, text)] = files_of(page)
    path = Path(pytester.path, name)
    path.write_text(text, "utf-8")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*model = nn.Sequential(", "*subject = Subject(model, inputs, *"])

    [shown] = re.findall(
        r"^```text\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    made: dict[str, Any] = {}
    exec(text, made)  # noqa: S102
    exec(shown, made)  # noqa: S102
    body = made["test_each_map_is_its_own"].hypothesis.inner_test
    with pytest.raises(AssertionError, match="Tensor-likes are not close"):
        body(made["subject"])

    mended = text.replace("abs().max()", "abs().amax(tuple(range(1, maps.ndim)), keepdim=True)")
    path.write_text(mended, "utf-8")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_how_to_on_stability_finds_the_jump_and_sees_it_mended(
    pytester: pytest.Pytester,
) -> None:
    naive, mended, test, script = files_of("how-to/check-stability.md")
    Path(pytester.path, naive[0]).write_text(naive[1], "utf-8")
    found = outcomes(pytester, "--xai-select", "deterministic,robustness")
    assert found["mine::deterministic"] == "passed"
    assert {name for name, outcome in found.items() if outcome == "failed"} >= {
        "mine::continuity",
        "mine::max_sensitivity",
        "mine::local_lipschitz",
    }

    assert mended[0] == naive[0]
    for name, text in (mended, test, script):
        Path(pytester.path, name).write_text(text, "utf-8")
    found = outcomes(pytester, "--xai-select", "deterministic,robustness", "-p", "no:cacheprovider")
    assert set(found.values()) == {"passed"}
    pytester.runpytest_subprocess(test[0]).assert_outcomes(passed=1)
    result = pytester.runpython(script[0])
    result.stdout.fnmatch_lines(["prediction held for * of 64 images", "mean Dice of * 10 %: 0.*"])


@pytest.mark.slow
def test_the_explainer_of_the_how_to_keeps_its_promises(pytester: pytest.Pytester) -> None:
    for name, text in files_of("how-to/check-a-new-explainer.md"):
        Path(pytester.path, name).write_text(text, "utf-8")
    result = pytester.runpytest_subprocess("-v")
    counts = result.parseoutcomes()
    # One check needs a GPU.
    assert counts.keys() <= {"passed", "skipped"}
    assert counts["passed"] > 10
    assert counts.get("skipped", 0) <= 1
    result.stdout.fnmatch_lines(["*test_gradient[[]gradient-finite[]] PASSED*"])


@pytest.mark.slow
def test_the_how_to_shows_a_counterexample_that_is_found_and_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "how-to/check-a-new-explainer.md"
    for name, text in files_of(page):
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    from pytest_xai import CheckFailed, check_explainer

    made: dict[str, Any] = {}
    exec("from scaled import scaled", made)  # noqa: S102
    with pytest.raises(CheckFailed) as caught:
        check_explainer(made["scaled"], checks=["finite"])
    [shown] = re.findall(
        r"^```text\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    code = shown[shown.index("    import torch") :].rstrip()
    assert code in str(caught.value)
    with pytest.raises(CheckFailed, match="scaled::finite"):
        exec(textwrap.dedent(code), {})  # noqa: S102
    monkeypatch.delitem(sys.modules, "scaled")
    monkeypatch.delitem(sys.modules, "my_explainer")


def test_the_table_of_the_how_to_has_known_keys_only() -> None:
    [(_, text)] = [
        block
        for block in files_of("how-to/put-it-in-a-model-repo.md")
        if block[0] == "pyproject.toml"
    ]
    table = tomllib.loads(text)["tool"]["pytest_xai"]
    assert table.keys() == {"subjects", "explainers", "select", "expected_failures"}


def test_the_bibliography_is_sorted_and_without_doubles() -> None:
    text = (DOCS / "references.bib").read_text("utf-8")
    keys = re.findall(r"^@\w+\{(\w+),$", text, re.MULTILINE)
    assert len(keys) > 20
    assert keys == sorted(set(keys))
