"""What is shipped: the metadata, the tools' pins, and the built wheel doing the main job."""

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DATA = {
    "digits": ["digits.json", "digits.safetensors", "model.safetensors", "permuted.safetensors"],
    "generators": ["digits.safetensors", "generators.json"],
    "shapes": [
        "LICENSES.md",
        "model.safetensors",
        "model_watermark.safetensors",
        "photographs.safetensors",
        "shapes.json",
        "shapes.safetensors",
    ],
}
FILES = {f"fixtures/{folder}/{file}" for folder, files in DATA.items() for file in files}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!\[; ]", requirement)[0]


def bounds() -> dict[str, str]:
    pattern = re.compile(r"([\w-]+)>=([\d.]+)")
    return dict(m.groups() for r in PROJECT["dependencies"] if (m := pattern.match(r)))


# ----------------------------------------------------------------------------------------- metadata


def test_no_dependency_has_an_upper_bound() -> None:
    runtime = [extra for name, extra in EXTRAS.items() if name != "lint"]
    requirements = PROJECT["dependencies"] + [each for extra in runtime for each in extra]
    assert [each for each in requirements if re.search(r"<|==|~=", each.partition(";")[0])] == []


def test_every_dependency_has_its_reason_in_the_docs() -> None:
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert {name_of(each) for each in PROJECT["dependencies"]} <= rows.keys()
    for extra, requirements in EXTRAS.items():
        brought = set(re.findall(r"`([\w-]+)`", rows[extra]))
        assert brought == ({name_of(each) for each in requirements} - {"pytest-xai"}), extra


def test_the_extra_all_is_all_libraries_of_the_gallery() -> None:
    assert EXTRAS["all"] == ["pytest-xai[captum,grad-cam,lime,shap,zennit]"]


def test_the_oldest_environment_of_tox_has_the_lower_bounds() -> None:
    text = (ROOT / "tox.ini").read_text("utf-8")
    pins = dict(re.findall(r"^    (?:py310-)?torchold: ([\w-]+)==([\d.]+)$", text, re.MULTILINE))
    test_bounds = dict(each.split(">=") for each in EXTRAS["test"] if ">=" in each)
    assert pins.pop("torchvision").startswith(test_bounds["torchvision"])
    expected = bounds()
    del expected["tomli"]
    assert {name: padded(pin) for name, pin in pins.items()} == {
        name: padded(bound) for name, bound in expected.items()
    }


def padded(version: str) -> tuple[int, ...]:
    parts = [int(part) for part in version.split(".")]
    return (*parts, *[0] * (3 - len(parts)))


def test_pre_commit_and_tox_use_the_pinned_linter() -> None:
    pin = next(each for each in EXTRAS["lint"] if each.startswith("ruff=="))
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert set(re.findall(r'"(ruff[^"]*)"', hooks)) == {pin}
    assert f"deps = {pin}\n" in (ROOT / "tox.ini").read_text("utf-8")


def test_the_changelog_has_a_place_for_what_comes_next() -> None:
    assert "\n## [Unreleased]\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


# ------------------------------------------------------------------------------------- the archives


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source archive, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_types_and_its_data(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = (path for path in (ROOT / "pytest_xai").rglob("*") if path.is_file())
    expected = {path.relative_to(ROOT).as_posix() for path in sources if path.suffix != ".pyc"}
    assert "pytest_xai/py.typed" in expected
    assert names == expected | {f"pytest_xai/{file}" for file in FILES}


@pytest.mark.slow
def test_the_source_archive_holds_what_its_tests_need(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    here = FILES | {
        "conftest.py",
        "tests/conftest.py",
        "docs/architecture.md",
        "docs/explanation/dependencies.md",
        ".ci/run",
        "tox.ini",
    }
    assert here - names == set()


@pytest.fixture(scope="module")
def installed(archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of a new environment: the wheel is in it, its requirements come from here."""
    home = tmp_path_factory.mktemp("environment")
    venv.create(home, with_pip=True)
    python = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
    install = [python, "-m", "pip", "install", "--no-deps", "--no-index", str(archives[1])]
    subprocess.run(install, check=True, capture_output=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run(
        [python, "-c", where], check=True, capture_output=True, text=True
    ).stdout.strip()
    Path(packages, "requirements.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return python


def run_in(folder: Path, python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [python, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_wheel_is_what_runs(installed: str, tmp_path: Path) -> None:
    shown = run_in(tmp_path, installed, "-c", "import pytest_xai; print(pytest_xai.__file__)")
    assert Path(shown.stdout.strip()).is_relative_to(Path(installed).parents[1])


@pytest.mark.slow
def test_the_wheel_lists_its_checks_from_an_empty_folder(installed: str, tmp_path: Path) -> None:
    result = run_in(tmp_path, installed, "-m", "pytest", "--xai-list")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "summation_to_delta" in result.stdout
    assert "captum:IntegratedGradients" in result.stdout


@pytest.mark.slow
def test_the_wheel_does_the_main_job_from_an_empty_folder(installed: str, tmp_path: Path) -> None:
    options = ["-m", "pytest", "--xai", "--xai-demo", "-k", "summation_to_delta"]
    result = run_in(tmp_path, installed, *options)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"\d+ passed", result.stdout)
