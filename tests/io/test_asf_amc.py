import math
import re
import warnings

import numpy as np
import pytest
import torch

from marey.core import FormatError, InputError
from marey.io.asf_amc import read_asf_amc
from marey.io.asf_skeleton import read_asf
from marey.io.bvh import read_bvh

SKELETON = """# a comment
:version 1.10
:name SOMEBODY
:units
  mass 1.0
  length 0.45
  angle deg
:documentation
   words of all kinds
:root
   order TX TY TZ RX RY RZ
   axis XYZ
   position 0 0 0
   orientation 0 0 0
:bonedata
  begin
     id 1
     name lleg
     direction 0 -2 0
     length 7.0
     axis 0 0 0  XYZ
    dof rx ry rz
    limits (-160.0 20.0)
           (-70.0 70.0)
           (-inf 70.0)
  end
  begin
     id 2
     name lshin
     direction 0 -1 0
     length 8.0
     axis 0 0 90  XYZ
    dof rx
    limits (-10.0 170.0)
  end
  begin
     id 3
     name back
     direction 0 1 0
     length 9.0
     axis 0 0 0  XYZ
  end
:hierarchy
  begin
    root lleg back
    lleg lshin
  end
"""
MOTION = """#!OML:ASF somebody.ASF
:FULLY-SPECIFIED
:DEGREES
1
root 0 15 0 0 0 0
lleg 0 0 0
lshin 0
2
root 1 15 -2 0 90 0
lleg 90 0 90
lshin 90
"""
UNIT = 0.0254 / 0.45


def read(tmp_path, skeleton=SKELETON, motion=MOTION, **options):
    (tmp_path / "somebody.asf").write_text(skeleton, newline="")
    (tmp_path / "hop.amc").write_text(motion, newline="")
    return read_asf_amc(tmp_path / "somebody.asf", tmp_path / "hop.amc", dtype=torch.float64, **options)


def test_read__tree_offsets_and_forward_kinematics(tmp_path):
    motion = read(tmp_path)
    assert motion.tree.joints == ("root", "lleg", "back", "lshin", "back_end", "lshin_end")
    assert motion.tree.parents == (-1, 0, 0, 1, 2, 3)
    assert (motion.fps, motion.length, motion.name, motion.tree.name) == (120.0, 2, "hop", "somebody")
    expected = [
        [[0, 15, 0], [0, 15, 0], [0, 15, 0], [0, 8, 0], [0, 24, 0], [0, 0, 0]],
        # the leg turns about x by 90 (-y -> -z), then about z by 90 (-z stays), then with the root about y by 90
        # (-z -> -x); the shin about its own x, which its axis of 90 about z has made y: from -y in the leg's frame,
        # about y, it stays
        [[1, 15, -2], [1, 15, -2], [1, 15, -2], [-6, 15, -2], [1, 24, -2], [-14, 15, -2]],
    ]
    np.testing.assert_allclose(motion.positions() / UNIT, expected, atol=1e-9)


def test_read__axis_of_a_bone_turns_its_degrees_of_freedom(tmp_path):
    motion = read(tmp_path, skeleton=SKELETON.replace("axis 0 0 90", "axis 0 0 0"))
    # about x in the leg's frame: -y -> -z; by the leg (x 90, then z 90): -z -> y -> -x; by the root (y 90): -x -> z
    np.testing.assert_allclose(motion.positions()[1, 5] / UNIT, [-6, 15, -2 + 8], atol=1e-9)


def test_read__order_of_a_bones_axis_and_of_the_root(tmp_path):
    turned = read(tmp_path, skeleton=SKELETON.replace("axis 0 0 90  XYZ", "axis 90 90 0  YXZ"))
    # C = Rx(90) Ry(90) takes x to y: -z -> ... the shin turns about C x = Rx(90) (-z) = y
    np.testing.assert_allclose(turned.positions()[1, 5] / UNIT, [-14, 15, -2], atol=1e-9)
    rows = MOTION.replace("root 1 15 -2 0 90 0", "root 1 15 -2 90 90 0")
    first_x = read(tmp_path, motion=rows).rotations[1, 0]
    first_y = read(tmp_path, motion=rows, skeleton=SKELETON.replace("axis XYZ", "axis YXZ")).rotations[1, 0]
    np.testing.assert_allclose(first_x, [[0, 1, 0], [0, 0, -1], [-1, 0, 0]], atol=1e-12)  # Ry Rx
    np.testing.assert_allclose(first_y, [[0, 0, 1], [1, 0, 0], [0, 1, 0]], atol=1e-12)  # Rx Ry


def test_read__radians_place_and_orientation_of_the_root(tmp_path):
    skeleton = SKELETON.replace("position 0 0 0", "position 0 1 0").replace("orientation 0 0 0", "orientation 0 90 0")
    motion = read(tmp_path, skeleton=skeleton, motion=MOTION.replace("lleg 0 0 0", "lleg 90 0 0"))
    assert motion.translation[0, 1].item() == pytest.approx(16 * UNIT)
    radians = MOTION.replace(":DEGREES", ":RADIANS").replace("lleg 90 0 90", f"lleg {math.pi / 2} 0 {math.pi / 2}")
    radians = radians.replace("0 90 0", f"0 {math.pi / 2} 0").replace("lshin 90", f"lshin {math.pi / 2}")
    torch.testing.assert_close(read(tmp_path, motion=radians).positions(), read(tmp_path).positions())


def test_read_asf__limits_in_radians(tmp_path):
    (tmp_path / "a.asf").write_text(SKELETON)
    bones = {bone.name: bone for bone in read_asf(tmp_path / "a.asf").bones}
    assert bones["lleg"].limits == (
        (math.radians(-160), math.radians(20)),
        (math.radians(-70), math.radians(70)),
        (-math.inf, math.radians(70)),
    )
    assert bones["lleg"].direction == (0, -1, 0)
    assert read_asf(tmp_path / "a.asf").name == "SOMEBODY"


@pytest.mark.parametrize(("unit", "metres"), [(None, 0.0254), ("in", 0.0254), ("cm", 0.01), (0.5, 0.5)])
def test_read__units(tmp_path, unit, metres):
    assert read(tmp_path, unit=unit).translation[0, 1].item() == pytest.approx(15 * metres / 0.45)


def test_read__unit_by_plausibility(tmp_path):
    skeleton = re.sub(r"length (\d\.0)", lambda m: f"length {float(m[1]) / 10}", SKELETON).replace(
        "length 0.45", "length 1"
    )
    assert read(tmp_path, skeleton=skeleton, fps=60).translation[0, 1].item() == pytest.approx(15)


def test_read__bones_that_the_motion_does_not_mention(tmp_path):
    with pytest.warns(UserWarning, match="nothing about lshin; they do not turn"):
        motion = read(tmp_path, motion=re.sub(r"lshin .*\n", "", MOTION))
    torch.testing.assert_close(motion.rotations[:, 3], torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


@pytest.mark.parametrize("cut", ["\nlshin 90\n", " 90\nlshin 90\n", "eg 90 0 90\nlshin 90\n"])
def test_read__last_frame_that_is_cut_off(tmp_path, cut):
    with pytest.warns(UserWarning, match="the last frame is cut off and left out"):
        assert read(tmp_path, motion=MOTION.removesuffix(cut)).length == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text + "\n\n",
        lambda text: text.replace(" ", "\t"),
    ],
)
def test_read__same_in_other_spellings(tmp_path, change):
    expected = read(tmp_path).positions()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(read(tmp_path, change(SKELETON), change(MOTION)).positions(), expected)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":root", ":boot", "no section :root"),
        (":hierarchy", ":", "no section :hierarchy"),
        ("# a comment", "HIERARCHY", "line 1: expected a section such as :root; is this an ASF"),
        ("   order TX TY TZ RX RY RZ\n", "", "the :root has no 'order'"),
        (
            "order TX TY TZ RX RY RZ",
            "order TX TY TZ RX RY L",
            "degrees of freedom 'TX TY TZ RX RY L', expected some of",
        ),
        ("dof rx ry rz", "dof rx ry ry", "each once"),
        ("dof rx ry rz", "dof rx ry rz l", "bones that stretch or slide cannot be read"),
        ("angle deg", "angle turns", "the unit of angle is 'turns'"),
        ("length 0.45", "length 0", "the unit of length is 0"),
        ("length 7.0", "length -7", "a length of -7"),
        ("length 7.0", "length seven", "length is 'seven', expected a number"),
        ("direction 0 -2 0", "direction 0 0 0", "the direction has no length"),
        ("direction 0 -2 0", "direction 0 -2", "2 numbers, expected 3"),
        ("     name lleg\n", "", "a bone without a name"),
        ("name lshin", "name lleg", "bones of one name: lleg"),
        ("axis 0 0 90  XYZ", "axis 0 0 90  XYY", "axis order 'XYY'"),
        ("(-70.0 70.0)", "(-70.0 70.0 3)", r"limits .* expected pairs such as"),
        ("           (-70.0 70.0)\n", "", "bone lleg has 2 limits for 3 dof"),
        ("    lleg lshin\n", "", "bones that do not hang on the root: lshin"),
        ("    lleg lshin\n", "    lleg lshin root\n", "'root' hangs on two bones, or is the root"),
        ("    lleg lshin\n", "    lleg lshin\n    back lshin\n", "'lshin' hangs on two bones"),
        ("    lleg lshin\n", "    lleg lfoot\n", "no bone 'lfoot' in :bonedata"),
        ("  end\n:hierarchy", ":hierarchy", "ends within a bone"),
    ],
)
def test_read_asf__malformed(tmp_path, old, new, message):
    assert old in SKELETON
    with pytest.raises(FormatError, match=message):
        read(tmp_path, skeleton=SKELETON.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (MOTION, "", "no frames in it"),
        ("1\nroot", "root", "line 4: 'root' before the first frame; is this an AMC motion"),
        ("lleg 0 0 0", "rleg 0 0 0", "line 6: no bone 'rleg' in the skeleton; do the two files belong together"),
        ("lleg 0 0 0", "lleg 0 0", "line 6: 2 numbers for lleg, which has 3 degrees of freedom"),
        ("lleg 0 0 0", "lleg 0 0 0\nlleg 0 0 0", "line 7: lleg a second time in one frame"),
        ("lleg 0 0 0\n", "", "line 7: other bones than in the first frame: lleg"),
        ("lleg 0 0 0", "lleg 0 zero 0", "'zero' is not a number"),
        ("lleg 0 0 0", "lleg 0 nan 0", "values that are not finite"),
        ("root", "boot", "no bone 'boot' in the skeleton"),
        (MOTION, ":DEGREES\n1\n", "no values of the root"),
    ],
)
def test_read_amc__malformed(tmp_path, old, new, message):
    assert old in MOTION
    with pytest.raises(FormatError, match=message):
        read(tmp_path, motion=MOTION.replace(old, new, 1))


def test_read__bad_options(tmp_path):
    with pytest.raises(InputError, match="fps: expected frames per second above 0, got 0"):
        read(tmp_path, fps=0)
    with pytest.raises(InputError, match="unit: expected one of"):
        read(tmp_path, unit="foot")
    with pytest.raises(InputError, match="cannot read"):
        read_asf_amc(tmp_path / "absent.asf", tmp_path / "hop.amc")


@pytest.mark.realdata
def test_real_recording__equals_its_bvh(shared_data):
    """Carnegie Mellon's 01_01 in both formats: bones by the same names, directions to 0.02 mm.

    The BVH has one frame more, a T-pose put in front, and lacks two bones, `thorax` and `wrist`, whose ends it puts at
    their beginnings: whatever hangs on them is compared from there.
    """
    folder = shared_data / "mocap_cmu"
    asf = read_asf_amc(folder / "01.asf", folder / "01_01.amc", dtype=torch.float64)
    bvh = read_bvh(folder / "01_01.bvh", unit=UNIT, dtype=torch.float64)
    assert asf.length == bvh.length - 1 == 2751
    ours, theirs = (dict(zip(motion.tree.joints, motion.positions().unbind(1), strict=True)) for motion in (asf, bvh))
    theirs = {name: places[1:] for name, places in theirs.items()}
    same = {"root": "Hips", "upperback": "Spine", "thorax": "Spine1"}
    for side, name in (("l", "Left"), ("r", "Right")):
        same |= {f"{side}femur": f"{name}UpLeg", f"{side}tibia": f"{name}Leg", f"{side}foot": f"{name}Foot"}
        same |= {f"{side}toes": f"{name}ToeBase", f"{side}toes_end": f"{name}ToeBase_end"}
    for one, other in same.items():
        assert (ours[one] - theirs[other]).norm(dim=-1).max() < 2e-5, one
    for side, name in (("l", "Left"), ("r", "Right")):
        bones = [(f"{side}clavicle", f"{side}humerus", f"{name}Shoulder", f"{name}Arm")]
        bones += [(f"{side}humerus", f"{side}radius", f"{name}Arm", f"{name}ForeArm")]
        bones += [(f"{side}radius", f"{side}wrist", f"{name}ForeArm", f"{name}Hand")]
        bones += [(f"{side}hand", f"{side}fingers_end", f"{name}FingerBase", f"{side.upper()}Fingers_end")]
        for begin, end, their_begin, their_end in bones:
            difference = (ours[end] - ours[begin]) - (theirs[their_end] - theirs[their_begin])
            assert difference.norm(dim=-1).max() < 2e-5, end
    head = (ours["head_end"] - ours["lowerneck"]) - (theirs["Head_end"] - theirs["Neck"])
    assert head.norm(dim=-1).max() < 2e-5
