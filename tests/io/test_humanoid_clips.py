import json
import math
import warnings

import numpy as np
import pytest
import torch

from marey.core import FormatError, InputError
from marey.io.humanoid_clips import read_humanoid_clip

STILL = [1, 0, 0, 0]
WIDTHS = (4, 4, 4, 4, 1, 4, 4, 1, 4, 1, 4, 4, 1)
SIDED = ("hip", "knee", "ankle", "shoulder", "elbow")
NAMES = ("root", "chest", "neck", *(f"{side}_{part}" for side in ("right", "left") for part in SIDED))


def row(duration=0.02, place=(0, 0.9, 0), **turns):
    """One frame: quaternions w x y z, and angles of knees and elbows."""
    values = [duration, *place]
    for name, width in zip(NAMES, WIDTHS, strict=True):
        values += turns.get(name, STILL) if width == 4 else [turns.get(name, 0.0)]
    return values


def written(tmp_path, document, name="humanoid3d_hop.txt"):
    (tmp_path / name).write_text(document if isinstance(document, str) else json.dumps(document))
    return tmp_path / name


def read(tmp_path, *rows, **options):
    return read_humanoid_clip(written(tmp_path, {"Loop": "none", "Frames": list(rows)}), dtype=torch.float64, **options)


def places(motion, frame=0):
    return dict(zip(motion.tree.joints, motion.positions()[frame].tolist(), strict=True))


def test_read__rest_pose_in_the_axes_of_motions(tmp_path):
    motion = read(tmp_path, row(place=(1, 0.9, 2)), row(duration=0))
    assert (motion.name, motion.fps, motion.length) == ("hop", 50.0, 2)
    at = places(motion)
    # the file's x is ahead (our z), its z to the right (our -x)
    assert at["root"] == pytest.approx([-2, 0.9, 1])
    assert at["right_hip"] == pytest.approx([-2 - 0.084887, 0.9, 1])
    assert at["left_wrist"] == pytest.approx(
        [-2 + 0.18311, 0.9 + 0.236151 + 0.2435 - 0.274788 - 0.258947, 1 - 0.02405], abs=1e-9
    )
    assert at["left_ankle"] == pytest.approx([-2 + 0.084887, 0.9 - 0.421546 - 0.40987, 1])


def test_read__turns(tmp_path):
    half = math.sqrt(0.5)
    motion = read(
        tmp_path,
        row(root=[half, 0, half, 0]),  # a quarter turn about y: from looking along the file's x to its -z, our x
        row(right_knee=-math.pi / 2, left_elbow=math.pi / 2),
        row(left_shoulder=[half, half, 0, 0]),  # about the file's x, ahead: from hanging to the file's -z, the left
    )
    at = places(motion, 0)
    assert at["left_hip"] == pytest.approx([0, 0.9, -0.084887])
    at = places(motion, 1)
    assert at["right_ankle"] == pytest.approx([-0.084887, 0.9 - 0.421546, -0.40987])  # the shank behind
    assert at["left_wrist"] == pytest.approx(
        [0.18311, 0.9 + 0.236151 + 0.2435 - 0.274788, 0.258947 - 0.02405], abs=1e-9
    )  # the forearm ahead
    at = places(motion, 2)
    assert at["left_elbow"] == pytest.approx([0.18311 + 0.274788, 0.9 + 0.236151 + 0.2435, -0.02405])


def test_read__quaternions_of_any_length(tmp_path):
    motion = read(tmp_path, row(chest=[1.2, 0, 0, 0]))
    torch.testing.assert_close(motion.rotations[0, 1], torch.eye(3, dtype=torch.float64))


def test_read__frames_of_other_durations_are_sampled_anew(tmp_path):
    angles = [0.0, 0.1, 0.2, 0.4, 0.5]
    turned = [row(duration=0.04 if angle == 0.2 else 0.02, left_elbow=angle) for angle in angles]
    turned[2][8:12] = [-value for value in turned[2][8:12]]  # the same rotation by the opposite quaternion
    with pytest.warns(UserWarning, match="last differently long; sampled at 50 frames/s"):
        motion = read(tmp_path, *turned)
    assert motion.length == 6
    elbow = motion.tree.joints.index("left_elbow")
    cosines = motion.rotations[:, elbow, 1, 1]  # about our x, the file's -z
    np.testing.assert_allclose(torch.arccos(cosines.clamp(-1, 1)), [0, 0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-6)
    torch.testing.assert_close(motion.rotations[:, 1], torch.eye(3, dtype=torch.float64).expand(6, 3, 3))


def test_read__no_warning_without_need(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read(tmp_path, row(), row(), row(duration=0)).length == 3


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "no list of 'Frames'"),
        ({"Frames": []}, "no list of 'Frames'"),
        ({"Frames": [row(), row()[:-1]]}, "frame 1 is not a row of 44 numbers"),
        ({"Frames": [row(), 3]}, "frame 1 is not a row"),
        ({"Frames": [row(left_knee="a")]}, "something else than numbers"),
        ({"Frames": [row(left_knee=[1])]}, "something else than numbers"),
        ({"Frames": [row(left_knee=math.nan)]}, "no finite number"),
        ({"Frames": [row(duration=-1)]}, "negative duration"),
        ({"Frames": [row(duration=0)]}, "most frames last 0 s"),
        ({"Frames": [row(neck=[0, 0, 0, 0])]}, "frame 0, number 12: a quaternion of length 0"),
    ],
)
def test_read__malformed(tmp_path, document, message):
    with pytest.raises(FormatError, match=message):
        read_humanoid_clip(written(tmp_path, document))


def test_read__no_such_file(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_humanoid_clip(tmp_path / "absent.txt")


@pytest.mark.realdata
def test_real_clips__stand_walk_and_bend_as_people_do(shared_data):
    paths = sorted((shared_data / "motion_clips").glob("humanoid3d_*.txt"))
    assert len(paths) == 20
    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            motion = read_humanoid_clip(path)
        assert motion.known.all()
        assert 10 < motion.fps < 125
    walk = read_humanoid_clip(shared_data / "motion_clips" / "humanoid3d_walk.txt")
    at = dict(zip(walk.tree.joints, walk.positions().unbind(1), strict=True))
    assert 0.03 < min(at["left_ankle"][:, 1].min(), at["right_ankle"][:, 1].min()) < 0.1
    forwards = at["root"][-1] - at["root"][0]
    assert forwards[2] > 0.8 * forwards.norm()  # it walks ahead, along z
    knee = walk.rotations[:, walk.tree.joints.index("left_knee")]
    assert (knee[:, 2, 1] > -0.05).all()  # the sine of its flexion about x
