import math

import pytest

from marey.core import InputError
from marey.io.units import metres_per_unit


def test_metres_per_unit__names_and_numbers():
    assert [metres_per_unit(unit) for unit in ("m", "cm", "mm", "in", 0.3048)] == [1, 0.01, 0.001, 0.0254, 0.3048]


@pytest.mark.parametrize("unit", ["km", "", 0, -1, math.inf, math.nan])
def test_metres_per_unit__unknown(unit):
    with pytest.raises(InputError, match="unit: expected one of m, cm, mm, in, or the metres in one unit"):
        metres_per_unit(unit)
