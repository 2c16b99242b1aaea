"""Options: three places, one rule of precedence, and refusals that say what was wrong."""

import ast

import pytest

from pytest_xai.core.run import Run
from pytest_xai.plugin.flags import MARKERS, TABLE
from pytest_xai.plugin.options import Options, resolve
from pytest_xai.registry import FAMILIES

SETTINGS = {
    "select": ("contract,shape", ("contract", "shape")),
    "ignore": ("finite", ("finite",)),
    "seed": ("7", 7),
    "alpha": ("0.05", 0.05),
    "budget": ("1000", 1000),
    "undecided": ("fail", "fail"),
    "device": ("cpu", "cpu"),
}
# key: (value on the line, in the ini file, in the table), each another one
EVERYWHERE = {
    "select": ("shape", "finite", '["contract"]'),
    "seed": ("1", "2", "3"),
    "alpha": ("0.1", "0.2", "0.3"),
    "budget": ("10", "20", "30"),
    "undecided": ("fail", "pass", '"warn"'),
    "device": ("cpu", "cpu:0", '"meta"'),
}


def options_of(pytester, *arguments):
    return resolve(pytester.parseconfig("--xai", *arguments))


def test_the_defaults(empty):
    assert options_of(empty) == Options(run=Run(), root=empty.path)


@pytest.mark.parametrize("key", SETTINGS)
def test_the_command_line(empty, key):
    text, value = SETTINGS[key]
    options = options_of(empty, f"--xai-{key}={text}")
    assert getattr(options.run, key) == value
    assert options.given == {key}


@pytest.mark.parametrize("key", SETTINGS)
def test_the_ini_file(empty, key):
    text, value = SETTINGS[key]
    empty.makeini(f"[pytest]\nxai_{key} = {text}")
    options = options_of(empty)
    assert getattr(options.run, key) == value
    assert options.given == frozenset()


@pytest.mark.parametrize(
    "line, value",
    [
        ('select = ["contract", "shape"]', ("contract", "shape")),
        ('ignore = "finite, shape"', ("finite", "shape")),
        ("seed = 7", 7),
        ("alpha = 0.05", 0.05),
        ("budget = 1000", 1000),
        ('undecided = "fail"', "fail"),
        ('device = "cpu"', "cpu"),
    ],
)
def test_the_table_of_pyproject(empty, line, value):
    empty.makepyprojecttoml(f"[tool.pytest_xai]\n{line}")
    assert getattr(options_of(empty).run, line.partition(" ")[0]) == value


@pytest.mark.parametrize("key", EVERYWHERE)
def test_the_line_beats_the_ini_file_which_beats_the_table(empty, key):
    on_line, in_ini, in_table = EVERYWHERE[key]
    empty.makepyprojecttoml(
        f"[tool.pytest.ini_options]\nxai_{key} = '{in_ini}'\n[tool.pytest_xai]\n{key} = {in_table}"
    )
    option = next(option for option in TABLE if option.key == key)
    assert getattr(options_of(empty, f"--xai-{key}={on_line}").run, key) == option.read(on_line)
    assert getattr(options_of(empty).run, key) == option.read(in_ini)
    empty.makepyprojecttoml(f"[tool.pytest_xai]\n{key} = {in_table}")
    assert getattr(options_of(empty).run, key) == option.read(ast.literal_eval(in_table))


def test_a_path_counts_from_where_it_was_written(empty, monkeypatch):
    empty.makepyprojecttoml(
        '[tool.pytest.ini_options]\n[tool.pytest_xai]\njson = "out/report.json"'
    )
    monkeypatch.chdir(empty.mkdir("below"))
    assert options_of(empty).files["json"] == empty.path / "out" / "report.json"
    assert (
        options_of(empty, "--xai-json=mine.json").files["json"]
        == empty.path / "below" / "mine.json"
    )
    assert options_of(empty, "-o", "xai_json=ini.json").files["json"] == empty.path / "ini.json"


@pytest.mark.parametrize(
    "argument, message",
    [
        (
            "--xai-seed=abc",
            "--xai-seed: got 'abc', expected an integer from 0 to 92233720368547758*",
        ),
        ("--xai-seed=-1", "--xai-seed: got '-1', expected an integer from 0*"),
        ("--xai-seed=1.5", "--xai-seed: got '1.5', expected an integer*"),
        ("--xai-alpha=0", "--xai-alpha: got '0', expected a number above 0 and below 1"),
        ("--xai-alpha=nan", "--xai-alpha: got 'nan', expected a number above 0 and below 1"),
        ("--xai-alpha=high", "--xai-alpha: got 'high', expected a number above 0 and below 1"),
        ("--xai-budget=0", "--xai-budget: got '0', expected an integer of at least 1"),
        (
            "--xai-undecided=ignore",
            "--xai-undecided: got 'ignore', expected one of fail, warn, pass",
        ),
        ("--xai-select=,", "--xai-select: got [[]','[]], expected families or names of checks*"),
        ("--xai-json=", "--xai-json: got '', expected the path of a file"),
        ("--xai-device= ", "--xai-device: got ' ', expected the name of a torch device"),
        (
            "--xai-select=shap",
            "--xai-select: unknown check or family 'shap'. Did you mean 'shape'*",
        ),
        (
            "--xai-ignore=advers",
            "--xai-ignore: unknown check or family 'advers'. Did you mean 'adve*",
        ),
        ("--xai-device=gpu7", "--xai-device: got 'gpu7', expected a device of this machine (*"),
    ],
)
def test_bad_values_are_refused(repo, argument, message):
    result = repo.runpytest("--xai", argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


@pytest.mark.parametrize(
    "table, message",
    [
        ("sede = 1", "[[]tool.pytest_xai[]]: unknown key 'sede'. Did you mean 'seed'? Known: *"),
        ("demo = true", "[[]tool.pytest_xai[]]: unknown key 'demo'.*"),
        ("seed = true", "[[]tool.pytest_xai[]] seed: got True, expected an integer*"),
        ("alpha = 'x'", "[[]tool.pytest_xai[]] alpha: got 'x', expected a number*"),
        ("alpha = true", "[[]tool.pytest_xai[]] alpha: got True, expected a number*"),
        ("select = [1]", "[[]tool.pytest_xai[]] select: got [[]1[]], expected families*"),
        ("subjects = 'x'", "[[]tool.pytest_xai[]] subjects: got 'x', expected a table like*"),
    ],
)
def test_a_bad_table_is_refused(empty, table, message):
    empty.makepyprojecttoml(f"[tool.pytest_xai]\n{table}")
    result = empty.runpytest("--xai")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_a_bad_ini_value_is_refused(empty):
    empty.makeini("[pytest]\nxai_seed = abc")
    empty.runpytest("--xai").stderr.fnmatch_lines(["ERROR: ini option xai_seed: got 'abc', *"])
    empty.makeini("[pytest]\nxai = perhaps")
    empty.runpytest().stderr.fnmatch_lines(
        ["ERROR: ini option xai: got 'perhaps', expected true *"]
    )


def test_a_broken_pyproject_is_refused(empty):
    empty.makeini("[pytest]")
    (empty.path / "pyproject.toml").write_bytes(b"[tool.pytest_xai\n")
    result = empty.runpytest("--xai")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *pyproject.toml: *"])


def test_a_bad_table_does_not_trouble_a_run_without_the_gate(empty):
    empty.makepyprojecttoml("[tool.pytest_xai]\nsede = 1")
    empty.makepyfile("def test_ordinary(): pass")
    empty.runpytest().assert_outcomes(passed=1)


def test_help_names_every_option(empty):
    result = empty.runpytest("--help")
    result.stdout.fnmatch_lines_random(
        [
            *(f"  {option.flag}*" for option in TABLE),
            *(f"  {option.ini} (string)*" for option in TABLE),
        ]
    )


def test_the_header_tells_the_settings(empty):
    result = empty.runpytest("--xai", "--xai-seed=3", "--xai-budget=12000", "--xai-device=cpu")
    result.stdout.fnmatch_lines(
        ["xai: seed 3, alpha 0.001, budget 12,000 evaluations, device: cpu, undecided: warn"]
    )


def test_the_families_are_markers():
    assert [marker.partition(":")[0] for marker in MARKERS][1:-2] == list(FAMILIES)
