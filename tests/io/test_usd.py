import math

import numpy as np
import pytest
import torch

from marey.core import InputError, JointTree, Motion
from marey.io.usd import write_usd

TREE = JointTree("t", ("pelvis", "left knee", "1"), (-1, 0, 1))
QUARTER = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])


def person(**change):
    rotations = torch.eye(3).repeat(3, 3, 1, 1)
    rotations[1, 0] = QUARTER
    rotations[2, 1] = QUARTER
    fields = {
        "tree": TREE,
        "offsets": torch.tensor([[0, 0, 0], [0, -0.5, 0], [0, -0.25, 0.125]]),
        "rotations": rotations,
        "translation": torch.tensor([[0, 1.0, 0], [1, 1, 0], [2, 1, 0]]),
        "fps": 25.0,
        "name": "Ann",
    }
    return Motion(**(fields | change))


def test_write__text(tmp_path):
    write_usd(tmp_path / "out.usda", [person()])
    text = (tmp_path / "out.usda").read_text()
    assert text.startswith(
        '#usda 1.0\n(\n    defaultPrim = "People"\n    endTimeCode = 2\n    framesPerSecond = 25\n'
        '    metersPerUnit = 1\n    startTimeCode = 0\n    timeCodesPerSecond = 25\n    upAxis = "Y"\n)\n\n'
        'def Xform "People"\n{\n'
        'def SkelRoot "Ann" (\n'
    )
    assert 'uniform token[] joints = ["pelvis", "pelvis/left_knee", "pelvis/left_knee/_1"]\n' in text
    assert "1: [(1, 1, 0), (0, -0.5, 0), (0, -0.25, 0.125)],\n" in text
    assert "1: [(0.7071068, 0, 0, 0.7071068), (1, 0, 0, 0), (1, 0, 0, 0)],\n" in text
    assert "visibility" not in text


def test_write__unknown_frames_are_invisible(tmp_path):
    lost = person(name="")
    lost.rotations[0] = math.nan
    write_usd(tmp_path / "out.usda", [person(fps=50.0), lost])
    text = (tmp_path / "out.usda").read_text()
    assert '"person_1"' in text
    # the second person has half as many frames a second: two time codes each
    assert 'token visibility.timeSamples = {\n0: "invisible",\n2: "inherited",\n4: "inherited",\n}' in text
    assert "nan" not in text


def test_write__bad_argument_leaves_no_file(tmp_path):
    for motions, name, message in (
        ([], "a.usda", "no motion"),
        ([person()], "a.usdc", "ends in .usda"),
        ([person(translation=torch.full((3, 3), math.nan))], "a.usda", "known in none of 3 frames"),
    ):
        with pytest.raises(InputError, match=message):
            write_usd(tmp_path / name, motions)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_write__openusd_finds_the_joints(tmp_path):
    pxr = pytest.importorskip("pxr", reason="needs usd-core")
    from pxr import Usd, UsdGeom, UsdSkel

    assert pxr
    lost = person(name="Bob")
    lost.rotations[0] = math.nan
    people = [person(), lost]
    write_usd(tmp_path / "out.usda", people)
    stage = Usd.Stage.Open(str(tmp_path / "out.usda"))
    assert (UsdGeom.GetStageMetersPerUnit(stage), UsdGeom.GetStageUpAxis(stage)) == (1, "Y")
    cache = UsdSkel.Cache()
    for motion in people:
        root = UsdSkel.Root.Get(stage, f"/People/{motion.name}")
        assert cache.Populate(root, Usd.TraverseInstanceProxies())
        (binding,) = cache.ComputeSkelBindings(root, Usd.TraverseInstanceProxies())
        assert binding.GetSkinningTargets()[0].HasJointInfluences()
        query = cache.GetSkelQuery(binding.GetSkeleton())
        assert query.HasBindPose()
        for frame in np.flatnonzero(motion.known):
            found = np.array(query.ComputeJointSkelTransforms(Usd.TimeCode(float(frame))))[:, 3, :3]
            np.testing.assert_allclose(found, motion.positions()[frame], atol=1e-6)
    visible = UsdGeom.Imageable(stage.GetPrimAtPath("/People/Bob"))
    assert [visible.ComputeVisibility(Usd.TimeCode(frame)) for frame in (0, 1)] == ["invisible", "inherited"]
