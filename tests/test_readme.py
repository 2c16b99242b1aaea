import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def command_under(heading: str) -> str:
    section = (ROOT / "README.md").read_text("utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(r"^```console\n\$ (.+)\n```$", section.partition("\n## ")[0], re.MULTILINE)
    assert found is not None, f"no command under {heading!r}"
    return found[1]


@pytest.mark.parametrize("heading", ["Try it", "Run the tests"])
def test_continuous_integration_runs_the_command_of_the_readme(heading: str) -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert f"'{command_under(heading)}'" in script


def test_every_link_of_the_readme_has_a_target() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_two_commands_use_one_environment() -> None:
    assert command_under("Try it").startswith("python3 -m venv .venv && ")
    assert command_under("Run the tests").startswith(".venv/bin/")
