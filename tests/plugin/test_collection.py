"""What ``pytest --xai`` collects, and how pytest's own selection works on it."""

import pytest

from pytest_xai import checks

APPLYING = [
    check.name
    for check in checks.all()
    if check.scope not in {"claimed", "probe"} and "slow" not in check.marks
]
CONTRACT = [check.name for check in checks.all() if check.family == "contract"]

PYPROJECT = """
[tool.pytest_xai]
subjects = { net = "my_model:load_subject" }
explainers = { first = "my_model:gradient", second = "my_model:Gradient" }
"""


def ids(explainers, names, subject="net"):
    return [f"xai::{subject}::{explainer}::{name}" for explainer in explainers for name in names]


def test_a_conftest_repo_gives_subjects_times_explainers_times_checks(repo, collected):
    assert collected("--xai") == ids(["first", "second"], APPLYING)


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


def test_claimed_checks_apply_to_those_that_claim_them(repo, collected, add_to_conftest):
    add_to_conftest("""
        import pytest_xai

        gradient = pytest_xai.explainer(claims={"linearity"})(gradient)
    """)
    assert "xai::net::first::linearity" in collected("--xai")
    assert "xai::net::first::dummy_feature" not in collected("--xai")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["--xai-select=contract"], ids(["first", "second"], CONTRACT)),
        (["--xai-select=shape,finite"], ids(["first", "second"], ["finite", "shape"])),
        (
            ["--xai-select=shape", "--xai-select", "finite"],
            ids(["first", "second"], ["finite", "shape"]),
        ),
        (
            ["--xai-select=contract", f"--xai-ignore={','.join(CONTRACT[1:])}"],
            ids(["first", "second"], CONTRACT[:1]),
        ),
        (["-k", "first and shape"], ids(["first"], ["shape"])),
        (["-m", "contract", "-k", "second"], ids(["second"], CONTRACT)),
        (["-m", "xai and contract", "-k", "shape"], ids(["first", "second"], ["shape"])),
        (["-m", "contract", "--deselect=xai::net::second"], ids(["first"], CONTRACT)),
        (["xai::net::first::shape"], ids(["first"], ["shape"])),
        (["xai::net::second"], ids(["second"], APPLYING)),
        (["xai::net"], ids(["first", "second"], APPLYING)),
        (
            ["xai::net::first::shape", "xai::net::second::shape"],
            ids(["first", "second"], ["shape"]),
        ),
    ],
)
def test_selection(repo, collected, arguments, expected):
    repo.makepyfile("def test_ordinary(): pass")
    assert [i for i in collected("--xai", *arguments) if i.startswith("xai::")] == expected


def test_ordinary_tests_are_collected_as_well(repo, collected):
    repo.makepyfile(test_it="def test_ordinary(): pass")
    assert collected("--xai", "--xai-select=shape") == [
        "test_it.py::test_ordinary",
        *ids(["first", "second"], ["shape"]),
    ]
    assert collected("--xai", "--xai-select=shape", "-m", "xai") == ids(
        ["first", "second"], ["shape"]
    )


def test_ids_alone_collect_no_ordinary_tests(repo, collected):
    repo.makepyfile(test_it="def test_ordinary(): pass")
    assert collected("--xai", "xai::net::first::shape") == ids(["first"], ["shape"])


def test_ids_and_files_collect_both(repo, collected):
    repo.makepyfile(test_it="def test_ordinary(): pass", test_other="def test_other(): pass")
    found = collected("--xai", "test_it.py", "xai::net::first::shape")
    assert found == ["test_it.py::test_ordinary", *ids(["first"], ["shape"])]


def test_a_run_narrowed_to_an_ordinary_test_leaves_the_gate_out(repo, collected):
    repo.makepyfile(test_it="def test_one(): pass\ndef test_two(): pass")
    assert collected("--xai", "test_it.py::test_two") == ["test_it.py::test_two"]
    assert len(collected("--xai", "test_it.py")) == 2 + 2 * len(APPLYING)


def test_ids_work_in_a_folder_below_the_root(repo, collected, monkeypatch):
    repo.makeini("[pytest]")
    monkeypatch.chdir(repo.mkdir("below"))
    assert len(collected("--xai", "xai::net::first::shape")) == 1
    assert len(collected("--xai", "../xai::net::first::shape")) == 1


def test_ids_work_beside_a_folder_of_that_name(repo, collected):
    repo.mkpydir("xai")
    assert collected("--xai", "xai::net::first::shape") == ids(["first"], ["shape"])


def test_conftests_of_testpaths_are_loaded_for_ids(repo, collected):
    repo.makeini("[pytest]\ntestpaths = deep/down\npythonpath = .")
    folder = repo.mkdir("deep") / "down"
    folder.mkdir()
    (repo.path / "conftest.py").rename(folder / "conftest.py")
    assert collected("--xai", "xai::net::first::shape") == ids(["first"], ["shape"])


def test_conftests_that_collection_finds_count(repo, collected):
    repo.makeini("[pytest]\npythonpath = .")
    folder = repo.mkpydir("deep") / "down"
    folder.mkdir()
    (repo.path / "conftest.py").rename(folder / "conftest.py")
    (folder / "test_it.py").write_text("def test_ordinary(): pass")
    assert len(collected("--xai", "--xai-select=shape")) == 3


@pytest.mark.parametrize(
    "given, message",
    [
        ("xai::nets", "xai::nets: unknown subject 'nets'. Did you mean 'net'? Known: net"),
        ("xai::net::furst", "xai::net::furst: unknown explainer 'furst'. Did you mean 'first'?*"),
    ],
)
def test_an_id_that_matches_nothing_is_refused(repo, given, message):
    result = repo.runpytest("--xai", given)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_an_id_without_the_option_says_so(repo):
    result = repo.runpytest("xai::net::first")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: xai::net::first is a check of pytest-xai: pass --xai*"])


def test_without_the_option_nothing_is_collected(repo, collected):
    repo.makepyfile(test_it="def test_ordinary(): pass")
    assert collected() == ["test_it.py::test_ordinary"]


def test_the_ini_file_switches_it_on_and_strict_markers_are_content(repo, collected):
    repo.makeini("[pytest]\nxai = true\naddopts = --strict-markers --strict-config")
    assert collected("--xai-select=shape") == ids(["first", "second"], ["shape"])


def test_no_model_is_made_while_collecting(repo, add_to_conftest):
    add_to_conftest("""
        def pytest_collection_finish():
            import my_model

            assert my_model.made == []
    """)
    assert repo.runpytest("--xai", "--co", "-q").ret == 0


def test_the_tree_shows_subject_explainer_and_check(repo):
    result = repo.runpytest("--xai", "--co", "--xai-select=shape")
    result.stdout.fnmatch_lines(
        [
            "collected 2 items",
            "*<Group xai>",
            "*  <Group net>",
            "*    <Group first>",
            "*      <CheckItem shape>",
            "*    <Group second>",
            "*      <CheckItem shape>",
        ]
    )


def test_nothing_registered_says_how_to(empty):
    result = empty.runpytest("--xai")
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(
        [
            "* xai *",
            "Nothing is registered.*",
            "    def pytest_xai_register(registry):",
            "    [[]tool.pytest_xai[]]",
            "*pytest --xai --xai-demo",
        ]
    )


def test_a_subject_without_explainers_is_nothing_registered(empty):
    empty.makeconftest("def pytest_xai_register(registry): registry.subject('net', print)")
    empty.runpytest("--xai").stdout.fnmatch_lines(
        ["Nothing to check: 1 subject and no explainers registered.*"]
    )


def test_a_selection_that_leaves_nothing_says_so(repo):
    result = repo.runpytest("--xai", "--xai-select=shape", "--xai-ignore=contract")
    result.stdout.fnmatch_lines(["Nothing to check: --xai-select and --xai-ignore leave no check."])


def test_the_demo_runs_in_any_folder_and_instead_of_what_is_registered(repo, collected):
    found = collected("--xai-demo", "--xai-select=shape")
    assert "xai::digits::saliency::shape" in found
    assert not any(i.startswith("xai::net") for i in found)
    assert found == collected("--xai", "--xai-demo", "--xai-select=shape")
