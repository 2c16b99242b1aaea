"""The table of all explainers of the gallery, joined from the tables of the modules.

A new explainer is a factory function with typed keyword options, and an `Entry` in the table at the
end of its module. Building the table imports none of the libraries.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pytest_xai.explainers import captum, controls, grad_cam, lime, own, shap, stored, zennit
from pytest_xai.explainers.adapting.entry import Entry

__all__ = ["ENTRIES", "LIBRARIES", "Library", "library_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """The library that implements the explainers with one prefix.

    Attributes:
        distribution: its name in the package index.
        extra: the extra of pytest-xai that installs it; None if no extra is needed.
    """

    distribution: str
    extra: str | None

    @property
    def version(self) -> str | None:
        """The installed version, or None if the library is not installed."""
        try:
            return version(self.distribution)
        except PackageNotFoundError:
            return None


LIBRARIES = {
    "captum": Library(distribution="captum", extra="captum"),
    "zennit": Library(distribution="zennit", extra="zennit"),
    "gradcam": Library(distribution="grad-cam", extra="grad-cam"),
    "shap": Library(distribution="shap", extra="shap"),
    "lime": Library(distribution="lime", extra="lime"),
    "xai": Library(distribution="pytest-xai", extra=None),
    "control": Library(distribution="pytest-xai", extra=None),
}

# Claims are those of the papers. The checks find out whether an implementation satisfies them.
ENTRIES: dict[str, Entry] = {
    **captum.ENTRIES,
    **zennit.ENTRIES,
    **grad_cam.ENTRIES,
    **shap.ENTRIES,
    **lime.ENTRIES,
    **own.ENTRIES,
    **stored.ENTRIES,
    **controls.ENTRIES,
}


def library_of(spec: str) -> Library:
    """Return the library that implements an explainer of the gallery."""
    return LIBRARIES[spec.partition(":")[0]]
