"""The table of options: three places for each of them, and markers for the families."""

from pytest_xai.plugin.flags import MARKERS, TABLE
from pytest_xai.registry import FAMILIES


def test_help_names_every_option(empty):
    result = empty.runpytest("--help")
    result.stdout.fnmatch_lines_random(
        [
            *(f"  {option.flag}*" for option in TABLE),
            *(f"  {option.ini} (string)*" for option in TABLE),
        ]
    )


def test_the_families_are_markers():
    assert [marker.partition(":")[0] for marker in MARKERS][1:-2] == list(FAMILIES)
