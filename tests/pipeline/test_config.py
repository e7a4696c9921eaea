"""Settings that cannot be are refused at once."""

import pytest

from marey.core import InputError
from marey.pipeline import EstimateConfig


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"people": 0}, "people: expected 1 or more"),
        ({"formats": ()}, "formats: expected one or more of trc, .*, amass, coco, humandata, videopose3d, got none"),
        ({"formats": ("coco", "fbx")}, "formats: expected some of .*, got fbx"),
        ({"field_of_view": 0.0}, "field_of_view: expected degrees"),
        ({"field_of_view": 180.0}, "field_of_view: expected degrees"),
        ({"stature": 175.0}, "stature: expected metres"),
        ({"stature": float("nan")}, "stature: expected metres"),
    ],
)
def test_estimate_config__impossible(change, match):
    with pytest.raises(InputError, match=match):
        EstimateConfig(**change)
