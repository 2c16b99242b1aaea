"""Import of optional packages on first use, with an error that says what to install."""

import importlib
from types import ModuleType

from pytest_xai.errors import MissingDependency

__all__ = ["require"]


def require(module: str, *, extra: str | None = None) -> ModuleType:
    """Import an optional package.

    Args:
        module: dotted name of the module, e.g. ``"captum.attr"``.
        extra: the extra of pytest-xai that installs the package; None: the message names the
            package itself.

    Raises:
        MissingDependency: the package is not installed, or its compiled part does not match
            torch.
    """
    package = module.partition(".")[0]
    requirement = f'"pytest-xai[{extra}]"' if extra else package
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"{package} cannot be imported ({error}). Install it: pip install {requirement}"
        ) from error
    except RuntimeError as error:
        # A torchvision that was compiled for another torch registers no operators. Then its import
        # fails, and so does the import of every package that needs torchvision.
        if "torchvision::" not in str(error):
            raise
        raise MissingDependency(_mismatch(package, error)) from error


def _mismatch(package: str, error: RuntimeError) -> str:
    from importlib.metadata import PackageNotFoundError, version

    def installed(name: str) -> str:
        try:
            return version(name)
        except PackageNotFoundError:
            return "not installed"

    return (
        f"{package} cannot be imported: torchvision {installed('torchvision')} was not built for "
        f"torch {installed('torch')} ({error}). Install a matching pair in one command, from one "
        "index: pip install --force-reinstall torch torchvision (the CPU-only pair: add "
        "--index-url https://download.pytorch.org/whl/cpu)"
    )
