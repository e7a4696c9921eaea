import math
import warnings

import numpy as np
import pytest
import torch

from marey.core import InputError, JointTree, Motion
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.motion_gaps import fill_motion_gaps

NAN = math.nan


def turning(degrees, places, **change):
    """One joint that turns about y; NaN degrees are unknown frames."""
    vectors = torch.zeros(len(degrees), 1, 3, dtype=torch.float64)
    vectors[:, 0, 1] = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    translation = torch.zeros(len(degrees), 3, dtype=torch.float64)
    translation[:, 0] = torch.tensor(places, dtype=torch.float64)
    fields = {"tree": JointTree("t", ("top",), (-1,)), "offsets": torch.zeros(1, 3), "fps": 10.0, "name": "Ann"}
    return Motion(rotations=rotvec_to_matrix(vectors), translation=translation, **(fields | change))


def angles(motion):
    return torch.atan2(motion.rotations[:, 0, 0, 2], motion.rotations[:, 0, 0, 0]).rad2deg().numpy()


def test_fill__steady_between_and_still_outside():
    motion = turning([NAN, 10, NAN, NAN, 40, NAN, NAN], [NAN, 1, NAN, NAN, 4, NAN, NAN])
    with pytest.warns(UserWarning, match="'Ann' is unknown in 5 of 7 frames, and BVH has no gaps"):
        filled = fill_motion_gaps(motion, kind="BVH")
    np.testing.assert_allclose(angles(filled), [10, 10, 20, 30, 40, 40, 40], atol=1e-9)
    np.testing.assert_allclose(filled.translation[:, 0], [1, 1, 2, 3, 4, 4, 4], atol=1e-12)
    assert filled.known.all()


def test_fill__the_short_way_round():
    with pytest.warns(UserWarning, match="1 of 3"):
        filled = fill_motion_gaps(turning([170, NAN, -170], [0, NAN, 0]), kind="BVH")
    np.testing.assert_allclose(np.abs(angles(filled)), [170, 180, 170], atol=1e-9)


def test_fill__a_frame_with_one_unknown_number_is_unknown():
    with pytest.warns(UserWarning, match="1 of 3"):
        filled = fill_motion_gaps(turning([0, 90, 20], [0, NAN, 2]), kind="BVH")
    np.testing.assert_allclose(angles(filled), [0, 10, 20], atol=1e-9)


def test_fill__known_frames_are_untouched_and_silent():
    motion = turning([0, 5], [0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fill_motion_gaps(motion, kind="BVH") is motion


@pytest.mark.parametrize("degrees", [[], [NAN, NAN]])
def test_fill__nothing_known(degrees):
    with pytest.raises(InputError, match=f"'Ann' is known in none of {len(degrees)} frames: nothing to write as BVH"):
        fill_motion_gaps(turning(degrees, degrees), kind="BVH")
