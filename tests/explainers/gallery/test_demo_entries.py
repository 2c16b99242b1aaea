import pytest

from fixtures.loops import in_one_test
from pytest_xai import checks, explainers
from pytest_xai.explainers.gallery.catalogue import Library
from pytest_xai.explainers.gallery.demo_entries import EXPECTED_FAILURES, GALLERY, QUICK
from pytest_xai.plugin.demo import fill, left_out
from pytest_xai.plugin.model_repo import ModelRepo

SUBJECTS = {"digits", "shapes"}


def test_the_whole_gallery_has_every_explainer_but_those_that_need_a_file():
    assert [each.spec for each in GALLERY] == [
        spec for spec in explainers.names() if spec != "xai:StoredMaps"
    ]
    assert len({each.name for each in GALLERY}) == len(GALLERY) >= 45


def test_the_quick_demo_is_a_part_of_it():
    assert {each.name for each in QUICK} < {each.name for each in GALLERY}


@in_one_test("each", [*QUICK, *GALLERY], ids=lambda each: each.name)
def test_every_explainer_is_built(each):
    assert explainers.get(each.spec, **each.options).name == each.spec


@in_one_test("known", EXPECTED_FAILURES, ids=lambda known: f"{known.explainer}-{known.check}")
def test_known_failures_are_of_a_demo_and_have_reasons(known):
    assert known.explainer in {each.name for each in GALLERY}
    assert known.check in checks.names()
    assert known.subject in {None, *SUBJECTS}
    assert len(known.reason.split()) > 3


@pytest.mark.parametrize("gallery", [False, True])
def test_a_registry_filled_with_a_demo(gallery):
    repo = ModelRepo()
    fill(repo, gallery=gallery)
    assert set(repo.subjects) == (SUBJECTS if gallery else {"digits"})
    assert list(repo.explainers) == [each.name for each in (GALLERY if gallery else QUICK)]
    assert left_out(gallery=gallery) == []


def test_explainers_of_a_library_that_is_missing_are_left_out_and_named(monkeypatch):
    installed = Library.version.fget
    monkeypatch.setattr(
        Library,
        "version",
        property(lambda self: None if self.distribution == "captum" else installed(self)),
    )
    repo = ModelRepo()
    fill(repo, gallery=False)
    kept = [each.name for each in QUICK if not each.spec.startswith("captum:")]
    assert list(repo.explainers) == kept
    gone = len(QUICK) - len(kept)
    assert left_out(gallery=False) == [
        f'left out: {gone} explainers of captum, for which: pip install "pytest-xai[captum]"'
    ]
    assert {expected.explainer for expected in repo.expectations} <= set(kept)
