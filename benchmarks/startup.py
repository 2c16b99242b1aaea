"""Measures the time and memory that the plugin adds to ``pytest --co -q`` of an empty folder.

    python benchmarks/startup.py [--rounds 20] [--limit-ms 20]

The runs alternate, so a machine that gets slower affects both. Plugins are loaded by name in both
runs: the baseline imports nothing of pytest-xai, not even its module. Exits with 1 above the limit.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_PYTEST = (sys.executable, "-m", "pytest", "--co", "-q", "-p", "no:cacheprovider")
_NO_TESTS = 5


def measure(folder: Path, *extra: str) -> tuple[float, float]:
    """Milliseconds of one run in a process of its own, by the clock and of the processor."""
    environment = os.environ | {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *_python_path()]),
    }
    started, busy = time.perf_counter(), _busy()
    done = subprocess.run(  # noqa: S603  # our own command
        [*_PYTEST, *extra], cwd=folder, env=environment, capture_output=True, check=False
    )
    elapsed, busy = time.perf_counter() - started, _busy() - busy
    if done.returncode != _NO_TESTS:
        sys.exit(f"pytest ended with {done.returncode}:\n{done.stdout.decode()}")
    return elapsed * 1000, busy * 1000


def main() -> int:
    """Measure, print both medians and their difference, and compare with the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--limit-ms", type=float, default=20.0)
    arguments = parser.parse_args()
    without, with_plugin = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Once unmeasured: byte code is written and files come into the cache.
        measure(folder)
        measure(folder, "-p", "pytest_xai.plugin")
        for _ in range(arguments.rounds):
            without.append(measure(folder))
            with_plugin.append(measure(folder, "-p", "pytest_xai.plugin"))
    plain, plain_busy = (statistics.median(column) for column in zip(*without, strict=True))
    loaded, loaded_busy = (statistics.median(column) for column in zip(*with_plugin, strict=True))
    added = loaded - plain
    print(f"pytest --co -q of an empty folder, medians of {arguments.rounds} alternating runs")
    print("                       clock   processor")
    print(f"without pytest-xai  {plain:5.0f} ms   {plain_busy:6.0f} ms")
    print(f"with pytest-xai     {loaded:5.0f} ms   {loaded_busy:6.0f} ms")
    print(f"added               {added:5.1f} ms   {loaded_busy - plain_busy:6.1f} ms")
    print(f"limit               {arguments.limit_ms:5.1f} ms")
    return 0 if added < arguments.limit_ms else 1


def _busy() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _python_path() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


if __name__ == "__main__":
    sys.exit(main())
