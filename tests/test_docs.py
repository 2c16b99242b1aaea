"""The documentation's examples do what the text around them says."""

import importlib.util
import json
import re
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

# `pytester` forgets what is first imported within a test, and neither numpy nor hypothesis can be
# imported twice.
import pytest_xai as xai
import pytest_xai.engine.exploration
import pytest_xai.strategies
from fixtures.right import gradient, input_x_gradient
from pytest_xai import Bench, Verdict, checks, registry
from pytest_xai.core.run import Run
from pytest_xai.engine.run_check import run_check
from pytest_xai.engine.task import Task
from pytest_xai.plugin.flags import TABLE
from pytest_xai.protocol import named
from pytest_xai.subjects import load_digits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parents[1] / "docs"
BIBLIOGRAPHY = (DOCS / "references.bib").read_text("utf-8")


def files_of(page: str) -> list[tuple[str, str]]:
    """The page's code blocks that begin with the name of their file, in order."""
    text = (DOCS / page).read_text("utf-8")
    blocks = re.findall(
        r"^```(?:python|toml)\n(# ([\w.]+)\n.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    return [(name, block) for block, name in blocks]


def made_by(page: str, file: str) -> dict[str, Any]:
    """The names that one code block of a page defines."""
    made: dict[str, Any] = {"__name__": file.removesuffix(".py")}
    exec(dict(files_of(page))[file], made)  # noqa: S102
    return made


def outcomes(pytester: pytest.Pytester, *options: str) -> dict[str, str]:
    """Outcomes of a run of the gate in a process of its own, by explainer::check."""
    pytester.runpytest_subprocess("--xai", "--xai-json", "report.json", *options)
    report = json.loads(Path(pytester.path, "report.json").read_text("utf-8"))
    return {f"{row['explainer']}::{row['check']}": row["outcome"] for row in report["results"]}


@pytest.mark.slow
def test_the_tutorial_ends_each_section_as_it_says(pytester: pytest.Pytester) -> None:
    bars, naive, registration, fixed = files_of("tutorial.md")
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

    assert fixed[0] == naive[0]
    Path(pytester.path, fixed[0]).write_text(fixed[1], "utf-8")
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

    boasting = fixed[1].replace('"linearity"', '"linearity", "summation_to_delta"')
    Path(pytester.path, fixed[0]).write_text(boasting, "utf-8")
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

    fixed = text.replace("abs().max()", "abs().amax(tuple(range(1, maps.ndim)), keepdim=True)")
    path.write_text(fixed, "utf-8")
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.slow
def test_the_how_to_on_stability_finds_the_jump_and_sees_it_fixed(
    pytester: pytest.Pytester,
) -> None:
    naive, fixed, test, script = files_of("how-to/check-stability.md")
    Path(pytester.path, naive[0]).write_text(naive[1], "utf-8")
    found = outcomes(pytester, "--xai-select", "deterministic,robustness")
    assert found["mine::deterministic"] == "passed"
    assert {name for name, outcome in found.items() if outcome == "failed"} >= {
        "mine::continuity",
        "mine::max_sensitivity",
        "mine::local_lipschitz",
    }

    assert fixed[0] == naive[0]
    for name, text in (fixed, test, script):
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


def test_a_bench_has_all_that_the_how_to_says_it_offers() -> None:
    text = (DOCS / "how-to" / "write-a-check.md").read_text("utf-8")
    offered = set(re.findall(r"\bbench\.(\w+)", text))
    assert len(offered) > 20
    bench = Bench(load_digits(2))
    # `pytest_xai.bench.bench` is a module, and bench.md a page.
    offered -= {"bench", "md"}
    assert [name for name in sorted(offered) if not hasattr(bench, name)] == []
    bench.close()


def test_the_reference_maps_of_the_how_to_give_values_and_limits() -> None:
    text = (DOCS / "how-to" / "write-a-check.md").read_text("utf-8")
    [code] = re.findall(
        r"^```python\n(import pytest_xai as xai\nfrom .*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    made: dict[str, Any] = {}
    exec(code, made)  # noqa: S102
    bench = Bench(load_digits(33))
    finding = made["similar_after_change"](bench, named(gradient))
    bench.close()
    assert finding.values.shape == finding.limits.shape == (33,)
    low, high = finding.limit_range
    assert ((finding.limits >= low) & (finding.limits <= high)).all()


def test_the_controls_of_the_how_to_are_a_declaration() -> None:
    text = (DOCS / "how-to" / "write-a-check.md").read_text("utf-8")
    [code] = re.findall(
        r'^   ```python\n(   """Controls.*?)^   ```$', text, re.MULTILINE | re.DOTALL
    )
    made: dict[str, Any] = {}
    exec(textwrap.dedent(code), made)  # noqa: S102
    [controls] = made["CONTROLS"]
    assert controls.check == "border_spared"
    assert [defect.says for defect in controls.wrong.values()] == ["shows the border"]


def test_the_explainer_of_the_how_to_is_an_entry_of_the_gallery() -> None:
    made = made_by("how-to/add-an-explainer.md", "squared_gradient.py")
    [entry] = made["ENTRIES"].values()
    sources = {claim.source for claim in entry.claims} | {entry.source}
    assert sources <= set(re.findall(r"^@\w+\{(\w+),$", BIBLIOGRAPHY, re.MULTILINE))
    assert {claim.check for claim in entry.claims} <= set(checks.names())
    assert entry.traits({}, library="captum").sign == "non_negative"
    assert entry.traits({"times_input": True}, library="captum").sign is None
    subject = load_digits(4)
    call = (subject.model, subject.inputs, subject.targets)
    torch.testing.assert_close(made["squared_gradient"]()(*call), gradient(*call) ** 2)


def test_the_attack_of_the_how_to_keeps_its_budget_and_changes_predictions() -> None:
    made = made_by("how-to/add-an-attack.md", "sign_noise.py")
    bench = Bench(load_digits(40))
    found = made["sign_noise"](bench, epsilon=0.5)
    bench.close()
    assert found.within.all()
    assert found.flipped.any()
    assert float(found.size.max()) == pytest.approx(0.5)


def test_the_check_of_the_how_to_on_attacks_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = made_by("how-to/add-an-attack.md", "sign_noise.py")
    monkeypatch.setitem(sys.modules, "sign_noise", SimpleNamespace(**made))  # type: ignore[arg-type]
    monkeypatch.setattr(registry, "CHECKS", {})
    made_by("how-to/add-an-attack.md", "sign_noise_dice.py")
    [added] = registry.CHECKS.values()
    bench = Bench(load_digits(64))
    verdict = run_check(bench, Task(check=added, explainer=named(input_x_gradient), asserted=True))
    bench.close()
    assert verdict.outcome in {"passed", "undecided"}
    assert verdict.images > 20


@pytest.mark.slow
def test_the_subject_of_the_how_to_is_checked(pytester: pytest.Pytester) -> None:
    [(name, text)] = files_of("how-to/add-a-subject.md")
    Path(pytester.path, name).write_text(text, "utf-8")
    found = outcomes(pytester, "--xai-select", "contract")
    assert set(found.values()) <= {"passed", "not_applicable"}
    assert found["saliency::finite"] == "passed"


def test_the_reporter_of_the_how_to_writes_a_line_per_verdict() -> None:
    made = made_by("how-to/add-a-report.md", "csv_report.py")
    verdict = Verdict(
        subject="digits",
        explainer="mine",
        check="finite",
        family="contract",
        asserted=True,
        outcome="failed",
        figure=2.0,
        limit=0.0,
        direction="<=",
    )
    lines = made["report"]([verdict, verdict], Run()).splitlines()
    assert lines[0] == "subject,explainer,check,outcome,figure,limit"
    assert lines[1:] == ["digits,mine,finite,failed,2.0,0.0"] * 2


@pytest.mark.slow
def test_the_reporter_of_the_how_to_needs_one_file_and_one_line(pytester: pytest.Pytester) -> None:
    """The line is that of the page, but for the place of the file."""
    page = "how-to/add-a-report.md"
    text = (DOCS / page).read_text("utf-8")
    [line] = re.findall(r'^"csv": (Reporter\(.*\)),$', text, re.MULTILINE)
    [(name, report)] = files_of(page)
    Path(pytester.path, name).write_text(report, "utf-8")
    place = line.replace("pytest_xai.reporting.csv_report", "csv_report")
    # Loaded by -p, it changes the table before pytest-xai makes options of it.
    pytester.makepyfile(
        early=f"""
        from pytest_xai import reporting
        from pytest_xai.reporting import Reporter

        reporting.REPORTERS["csv"] = {place}
        """
    )
    options = ["-p", "early", "--xai", "--xai-demo", "-k", "saliency and finite"]
    pytester.runpytest_subprocess(*options, "--xai-csv", "out/verdicts.csv")
    lines = Path(pytester.path, "out", "verdicts.csv").read_text("utf-8").splitlines()
    assert lines[0] == "subject,explainer,check,outcome,figure,limit"
    assert lines[1].startswith("digits,saliency,finite,passed,")


@pytest.mark.slow
def test_the_fixtures_work_as_their_page_says(pytester: pytest.Pytester) -> None:
    [(name, text)] = files_of("reference/fixtures.md")
    Path(pytester.path, name).write_text(text, "utf-8")
    pytester.runpytest_subprocess().assert_outcomes(passed=2)


# ------------------------------------------------------------------------------------ all the pages


def registry_pages() -> Any:
    """The Sphinx extension that writes pages."""
    pytest.importorskip("sphinx")
    place = importlib.util.spec_from_file_location("registry_pages", DOCS / "registry_pages.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


def test_the_configuration_page_has_every_option_with_its_names() -> None:
    page = registry_pages().configuration_page(TABLE)
    for option in TABLE:
        key = f"`{option.key}`" if option.in_table else "no key"
        assert f"[`{option.flag}`](#option-{option.key}) | `{option.ini}` | {key}" in page
    for key in ("subjects", "explainers", "expected_failures"):
        assert f"`{key}`" in page


def test_the_interface_page_has_every_public_name() -> None:
    page = registry_pages().interface_page(xai.__all__, [])
    headings = re.findall(r"^## (\w+)$", page, re.MULTILINE)
    assert set(xai.__all__) <= set(headings)


def test_every_page_is_in_the_index() -> None:
    """The pages of evidence are in an index of their own."""
    index = (DOCS / "index.md").read_text("utf-8")
    listed = set(re.findall(r"^([\w/-]+)$", index, re.MULTILINE))
    found = {page.relative_to(DOCS).with_suffix("").as_posix() for page in DOCS.rglob("*.md")}
    elsewhere = {name for name in found if name.startswith(("_", "evidence/"))}
    assert found - elsewhere - {"index"} == {
        name for name in listed if not name.startswith(("_", "evidence/"))
    }
    assert "evidence/index" in listed


def test_the_tour_is_short_and_names_files_that_exist() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    assert len(text.splitlines()) < 120
    tour = text.partition("## From the explainer")[2].partition("## Layers")[0]
    files = set(re.findall(r"`([\w/]+(?:\.py|/))`", tour))
    assert len(files) > 35
    package = DOCS.parent / "pytest_xai"
    assert [name for name in sorted(files) if not (package / name).exists()] == []


def test_no_page_has_a_retired_word() -> None:
    retired = re.compile(
        r"\b(workshop|purse|tally|wishes|nulls|anatomy|accounts|tells|undec)\b", re.IGNORECASE
    )
    pages = [*DOCS.rglob("*.md"), DOCS.parent / "README.md", DOCS.parent / "CONTRIBUTING.md"]
    found = [
        f"{page.name}: {word}"
        for page in pages
        if "_generated" not in page.parts
        for word in retired.findall(page.read_text("utf-8"))
    ]
    assert found == []


def test_the_bibliography_is_sorted_and_without_doubles() -> None:
    keys = re.findall(r"^@\w+\{(\w+),$", BIBLIOGRAPHY, re.MULTILINE)
    assert len(keys) > 20
    assert keys == sorted(set(keys))
