"""Registers the demo: bundled subjects, explainers of the gallery, known failures."""

from pytest_xai.plugin.model_repo import ModelRepo

__all__ = ["fill", "left_out"]

# Maps of the expensive methods take long on images of this size, so there are few images.
_SHAPES = 16


def fill(repo: ModelRepo, *, gallery: bool) -> None:
    """Register a demo. Explainers whose library is not installed are left out: see `left_out`.

    Args:
        repo: an empty one.
        gallery: the whole gallery on all bundled subjects; False: some of it on the digits.
    """
    from pytest_xai.explainers.gallery import demo_entries

    chosen = demo_entries.GALLERY if gallery else demo_entries.QUICK
    repo.subject("digits", _digits)
    if gallery:
        repo.subject("shapes", _shapes)
    for each in chosen:
        if _installed(each.spec):
            repo.explainer(each.name, each.spec, **each.options)
    for expected in demo_entries.EXPECTED_FAILURES:
        if expected.explainer in repo.explainers and expected.subject in {
            None,
            *repo.subjects,
        }:
            repo.expect_failure(
                expected.explainer, expected.check, expected.reason, subject=expected.subject
            )


def left_out(*, gallery: bool) -> list[str]:
    """Return what a demo leaves out: a line for each library that is not installed.

    Args:
        gallery: as for `fill`.
    """
    from pytest_xai.explainers.gallery import demo_entries
    from pytest_xai.explainers.gallery.catalogue import library_of

    missing: dict[str, int] = {}
    for each in demo_entries.GALLERY if gallery else demo_entries.QUICK:
        if not _installed(each.spec):
            extra = library_of(each.spec).extra or ""
            missing[extra] = missing.get(extra, 0) + 1
    return [
        f"left out: {count} explainer{'s' * (count > 1)} of {extra}, "
        f'for which: pip install "pytest-xai[{extra}]"'
        for extra, count in missing.items()
    ]


def _installed(spec: str) -> bool:
    from pytest_xai.explainers.gallery.catalogue import library_of

    return library_of(spec).version is not None


def _digits() -> object:
    """Load the digits, and use one thread: images of 8 x 8 are too small to share the work."""
    import torch

    from pytest_xai.subjects import load_digits

    torch.set_num_threads(1)
    return load_digits()


def _shapes() -> object:
    from pytest_xai.subjects import load_shapes

    return load_shapes(_SHAPES)
