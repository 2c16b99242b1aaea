"""The maps find the object in the shapes, and the watermark where the network looks at that."""

import pytest

from pytest_xai.measures import mass_inside, pointing_game
from studies.localisation import FINDERS, explained, hits, marked_squares, shapes_got_right

QUICK = ("xai:DeepLiftRevealCancel", "xai:CAM", "captum:LayerGradCam")
SLOW = ("xai:SIDU", "xai:RISE", "xai:MeaningfulPerturbation")
FOUND = [*QUICK, *(pytest.param(spec, marks=pytest.mark.slow) for spec in SLOW)]


@pytest.fixture(scope="module")
def shapes():
    return shapes_got_right(100)


@pytest.fixture(scope="module")
def squares():
    return marked_squares()


def test_the_tables_of_the_docs_are_of_these():
    assert set(FINDERS) == {*QUICK, *SLOW, "control:RandomMap"}


@pytest.mark.parametrize("spec", FOUND)
def test_the_object_is_found(spec, shapes):
    exact, near = hits(shapes, spec, FINDERS[spec])
    assert near > 0.8
    assert exact > 0.65


def test_a_random_map_finds_it_as_often_as_it_is_large(shapes):
    exact, _ = hits(shapes, "control:RandomMap", {})
    area = float(shapes.masks.float().mean())
    assert len(shapes) == 100
    assert exact == pytest.approx(area, abs=0.1)


# SIDU compares whole predictions, and RISE spreads what its large cells find.
@pytest.mark.parametrize("spec", ["xai:DeepLiftRevealCancel", "xai:CAM", "captum:LayerGradCam"])
def test_maps_sit_on_the_watermark(spec, squares):
    subject, marks = squares
    maps = explained(subject, spec, FINDERS[spec])
    objects = subject.masks[:, 0]
    assert float(pointing_game(maps, marks).nanmean()) > 0.9
    assert float(mass_inside(maps, marks).nanmean()) > 10 * float(marks.float().mean())
    assert float(mass_inside(maps, objects).nanmean()) < float(objects.float().mean())
