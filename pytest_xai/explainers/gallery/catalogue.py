"""The table of the gallery: the tables of its libraries, one after the other.

A new explainer is a factory function with typed keyword options, and an `Entry` in the table at the
end of its module. No library is imported for it.
"""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from pytest_xai.explainers import captum, controls, grad_cam, lime, own, shap, stored, zennit
from pytest_xai.explainers.adapting.entry import Entry

__all__ = ["ENTRIES", "LIBRARIES", "Library", "library_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """Where the explainers of one prefix come from.

    Attributes:
        distribution: what the package index calls it.
        extra: the extra of pytest-xai that installs it; None: it needs none.
    """

    distribution: str
    extra: str | None

    @property
    def version(self) -> str | None:
        """The installed version; None: it is not installed."""
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

# The claims are those of the papers; whether an implementation keeps them is the gate's question.
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
    """The library behind a name of the gallery."""
    return LIBRARIES[spec.partition(":")[0]]
