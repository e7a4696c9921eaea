import math
import re
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, JointTree, MareyError, Motion
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.bvh import read_bvh, write_bvh

FILE = """HIERARCHY
ROOT Hips
{
\tOFFSET 0 0 0
\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
\tJOINT Left Leg
\t{
\t\tOFFSET 10.0 -40.0 0
\t\tCHANNELS 3 Zrotation Xrotation Yrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 -45 0
\t\t}
\t}
\tJOINT Head
\t{
\t\tOFFSET 0 60 0
\t\tCHANNELS 1 Xrotation
\t\tEnd Site
\t\t{
\t\t\tOFFSET 0 0 0
\t\t}
\t}
}
MOTION
Frames: 2
Frame Time: 0.0333333
0 90 0  0 0 0  0 0 0  0
100 90 -50  90 0 0  0 90 0  -30
"""


def written(tmp_path, text):
    (tmp_path / "walk.bvh").write_text(text, newline="")
    return tmp_path / "walk.bvh"


def random_motion(seed=0, *, frames=7, count=9, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    parents = (-1, *(int(torch.randint(0, place, (1,), generator=generator)) for place in range(1, count)))
    offsets = torch.randn(count, 3, generator=generator, dtype=dtype) * 0.2
    offsets[0] = 0
    vectors = torch.randn(frames, count, 3, generator=generator, dtype=dtype) * 1.5
    return Motion(
        tree=JointTree("random", tuple(f"joint_{place}" for place in range(count)), parents),
        offsets=offsets,
        rotations=rotvec_to_matrix(vectors),
        translation=torch.randn(frames, 3, generator=generator, dtype=dtype),
        fps=50.0,
        name="somebody",
    )


def independent_positions(path, names, frames):
    """(T, K, 3) in the file's unit, by the forward kinematics of bvhio."""
    bvhio = pytest.importorskip("bvhio")
    root = bvhio.readAsHierarchy(str(path))
    joints = {joint.Name: joint for joint, _, _ in root.layout()}
    found = []
    for frame in frames:
        root.loadPose(frame)
        found.append([joints[name].PositionWorld.to_tuple() for name in names])
    return np.array(found)


def test_read__hierarchy_offsets_and_forward_kinematics(tmp_path):
    motion = read_bvh(written(tmp_path, FILE))
    assert motion.tree.joints == ("Hips", "Left Leg", "Left Leg_end", "Head")  # the head's End Site has no length
    assert motion.tree.parents == (-1, 0, 1, 0)
    assert (motion.fps, motion.length, motion.name) == (30.0, 2, "walk")
    np.testing.assert_allclose(motion.offsets, [[0, 0, 0], [0.1, -0.4, 0], [0, -0.45, 0], [0, 0.6, 0]], atol=1e-7)
    expected = [
        [[0, 0.9, 0], [0.1, 0.5, 0], [0.1, 0.05, 0], [0, 1.5, 0]],
        # the root turned about z by 90 degrees: (x, y) -> (-y, x); the leg about its own x: -y -> -z
        [[1, 0.9, -0.5], [1.4, 1.0, -0.5], [1.4, 1.0, -0.95], [0.4, 0.9, -0.5]],
    ]
    np.testing.assert_allclose(motion.positions(), expected, atol=1e-6)
    c, s = math.cos(math.radians(-30)), math.sin(math.radians(-30))
    np.testing.assert_allclose(motion.rotations[1, 3], [[1, 0, 0], [0, c, -s], [0, s, c]], atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n\t", "\n    "),
        lambda text: re.sub(r"\n\s*\{", " {", text),
        lambda text: re.sub(r"\n(\t*)\}", r" }", text),
        lambda text: "\ufeff\n" + text + "\n\n",
        lambda text: text.replace("Frames: 2", "frames 2").replace("Frame Time:", "Frame time:\t"),
        lambda text: text.replace("End Site", "End site").replace("Xrotation", "xRotation"),
    ],
)
def test_read__same_in_other_spellings(tmp_path, change):
    expected = read_bvh(written(tmp_path, FILE)).positions()
    changed = change(FILE)
    assert changed != FILE
    torch.testing.assert_close(read_bvh(written(tmp_path, changed)).positions(), expected)


@pytest.mark.parametrize("order", ["XYZ", "ZYX", "YXZ", "ZXZ", "XZ", "Y", ""])
def test_read__channels_in_any_order_and_number(tmp_path, order):
    channels = " ".join([str(len(order)), *(f"{axis}rotation" for axis in order)])
    text = FILE.replace("1 Xrotation", channels)
    degrees = [20.0, -35.0, 50.0][: len(order)]
    text = text.replace("0 0 0  0\n", "0 0 0\n" if not order else f"0 0 0  {' '.join(map(str, degrees))}\n")
    text = text.replace("0 90 0  -30\n", "0 90 0  " + " ".join(["0"] * len(order)) + "\n")
    found = read_bvh(written(tmp_path, text), dtype=torch.float64).rotations[0, 3]
    expected = np.eye(3)
    for axis, angle in zip(order, np.radians(degrees), strict=True):
        c, s = np.cos(angle), np.sin(angle)
        turn = {
            "X": [[1, 0, 0], [0, c, -s], [0, s, c]],
            "Y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
            "Z": [[c, -s, 0], [s, c, 0], [0, 0, 1]],
        }
        expected = expected @ turn[axis]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("unit", "metres"), [("cm", 0.01), ("mm", 0.001), ("m", 1.0), ("in", 0.0254), (0.0254 / 0.45, 0.0564444)]
)
def test_read__given_unit(tmp_path, unit, metres):
    motion = read_bvh(written(tmp_path, FILE), unit=unit)
    assert motion.offsets[3, 1].item() == pytest.approx(60 * metres, rel=1e-5)
    assert motion.translation[1].tolist() == pytest.approx([100 * metres, 90 * metres, -50 * metres], rel=1e-5)


@pytest.mark.parametrize(("factor", "metres"), [(1, 0.01), (10, 0.001), (0.01, 1.0)])
def test_read__unit_by_plausibility(tmp_path, factor, metres):
    text = re.sub(
        r"OFFSET (\S+) (\S+) (\S+)", lambda m: "OFFSET " + " ".join(str(float(v) * factor) for v in m.groups()), FILE
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        motion = read_bvh(written(tmp_path, text))
    assert motion.offsets[3, 1].item() == pytest.approx(0.6, rel=1e-6)
    assert motion.translation[1, 0].item() == pytest.approx(100 * metres, rel=1e-6)


def test_read__implausible_size_warns(tmp_path):
    text = FILE.replace("60 0", "6000 0")
    with pytest.warns(UserWarning, match="no person's in m, cm or mm; read as cm"):
        assert read_bvh(written(tmp_path, text)).offsets[3, 1].item() == pytest.approx(60)


@pytest.mark.parametrize(
    ("written_time", "fps"),
    [("0.0333333", 30), (".0083333", 120), ("0.033367", 30 / 1.001), ("0.02", 50), ("1", 1), ("0.0124", 1 / 0.0124)],
)
def test_read__frame_rate_of_a_rounded_frame_time(tmp_path, written_time, fps):
    assert read_bvh(written(tmp_path, FILE.replace("0.0333333", written_time))).fps == pytest.approx(fps, rel=1e-12)


def test_read__positions_of_other_joints_replace_offsets(tmp_path):
    text = FILE.replace("CHANNELS 1 Xrotation", "CHANNELS 2 Yposition Xrotation")
    text = text.replace("0 0 0  0\n", "0 0 0  55 0\n").replace("0 90 0  -30", "0 90 0  55 -30")
    motion = read_bvh(written(tmp_path, text))
    assert motion.offsets[3].tolist() == pytest.approx([0, 0.55, 0])


def test_read__bones_that_change_length_warn(tmp_path):
    text = FILE.replace("CHANNELS 1 Xrotation", "CHANNELS 1 Yposition").replace("0 0 0  0\n", "0 0 0  50\n")
    with pytest.warns(UserWarning, match=r"1 joints move within their parents \(Head by up to 400 mm\)"):
        motion = read_bvh(written(tmp_path, text))
    assert motion.offsets[3].tolist() == pytest.approx([0, 0.1, 0])


def test_read__root_that_only_holds_is_merged(tmp_path):
    inner = FILE[FILE.index("\tJOINT Left") : FILE.index("MOTION")]
    text = (
        "HIERARCHY\nROOT Reference\n{\nOFFSET 0 0 0\nCHANNELS 3 Yrotation Xposition Zposition\nJOINT Hips\n{\n"
        "OFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
        + inner
        + "}\nMOTION\nFrames: 2\nFrame Time: 0.05\n"
        + "90 10 0  0 90 0  0 0 0  0 0 0  0\n90 10 0  20 90 0  0 0 0  0 0 0  0\n"
    )
    motion = read_bvh(written(tmp_path, text))
    assert motion.tree.joints[0] == "Hips"
    # a quarter turn about y takes x to -z and z to x
    np.testing.assert_allclose(motion.translation, [[0.1, 0.9, 0], [0.1, 0.9, -0.2]], atol=1e-6)
    np.testing.assert_allclose(motion.positions()[1, 1], [0.1, 0.5, -0.3], atol=1e-6)


def test_read__nan_rows_are_unknown_frames(tmp_path):
    with pytest.warns(UserWarning, match="1 frames have no numbers"):
        motion = read_bvh(written(tmp_path, FILE.replace("100 90 -50", "nan NaN -nan")))
    assert motion.known.tolist() == [True, False]
    assert motion.offsets.isfinite().all()


def test_read__repeated_names_are_numbered(tmp_path):
    with pytest.warns(UserWarning, match="names repeat and are numbered: Hips"):
        motion = read_bvh(written(tmp_path, FILE.replace("JOINT Head", "JOINT Hips")))
    assert motion.tree.joints == ("Hips", "Left Leg", "Left Leg_end", "Hips_2")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "HIERARCHIE", "not a BVH file"),
        ("ROOT Hips", "ROOT", "line 2: ROOT without a name"),
        ("\tJOINT Left Leg", "\tJOINT", "line 6: JOINT without a name"),
        ("\tJOINT Head", "\tROOT Head", "line 15: ROOT inside a joint"),
        ("ROOT Hips", "JOINT Hips", "line 2: JOINT outside a joint"),
        ("\t\tOFFSET 0 60 0\n", "", "line 15: joint 'Head' has no OFFSET"),
        ("\t\tOFFSET 0 60 0\n", "\t\tOFFSET 0 60\n", "line 17: OFFSET of 2 numbers"),
        ("\t\tOFFSET 0 60 0\n", "\t\tOFFSET 0 nan 0\n", "line 17: OFFSET is 'nan', expected a number"),
        ("\t\tOFFSET 0 60 0\n", "\t\tOFFSET 0 60,5 0\n", "'60,5', expected a number; decimal commas"),
        ("\t\tCHANNELS 1 Xrotation\n", "", "line 15: joint 'Head' has no CHANNELS"),
        ("CHANNELS 1 Xrotation", "CHANNELS 2 Xrotation", "line 18: CHANNELS 2 Xrotation: expected"),
        ("CHANNELS 1 Xrotation", "CHANNELS 1 Xscale", "channel 'Xscale', expected one of Xposition"),
        ("CHANNELS 1 Xrotation", "CHANNELS 2 Xposition Xposition", "one position twice"),
        ("Zrotation Xrotation Yrotation\n\tJOINT", "Zrotation Xrotation Yrotation\n\tWORD", "'WORD' is no word of BVH"),
        ("\n}\nMOTION", "\nMOTION", "1 joints are not closed"),
        ("\n}\nMOTION", "\n}\n}\nMOTION", "line 25: '}' outside every joint"),
        ("ROOT Hips\n{", "ROOT Hips\n", "'OFFSET' where { was expected"),
        ("Frames: 2\n", "", "line 26: expected Frames"),
        ("Frames: 2", "Frames: two", "Frames is 'two'"),
        ("Frame Time: 0.0333333\n", "", "line 27: expected Frame Time"),
        ("0.0333333", "0", "Frame Time is 0, expected seconds above 0"),
        ("0.0333333", "1e-320", "Frame Time is 1e-320, expected seconds above 0"),
        ("0.0333333", "0,0333", "Frame Time is '0,0333', expected a number; decimal commas"),
        ("100 90 -50", "100 90", "line 29: 9 numbers, expected 10"),
        ("100 90 -50", "100 90 -50 1", "line 29: 11 numbers, expected 10"),
        ("100 90 -50", "100 90 -5o", "line 29: '-5o' is not a number"),
        ("100 90 -50", "100,5 90,0 -50,1", "line 29: '100,5' is not a number; decimal commas"),
        ("\t\t\tOFFSET 0 -45 0", "\t\t\tCHANNELS 1 Xrotation", "CHANNELS of an End Site"),
    ],
)
def test_read__malformed(tmp_path, old, new, message):
    assert FILE.count(old) >= 1
    with pytest.raises(FormatError, match=message):
        read_bvh(written(tmp_path, FILE.replace(old, new, 1)))


def test_read__number_of_frames_that_is_not_true_warns(tmp_path):
    for promised in ("1", "3", "99999999999999999999"):
        with pytest.warns(UserWarning, match="2 frames, but it promises"):
            assert read_bvh(written(tmp_path, FILE.replace("Frames: 2", f"Frames: {promised}"))).length == 2


def test_read__no_such_file_and_unknown_unit(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_bvh(tmp_path / "absent.bvh")
    for unit in ("foot", 0, math.nan):
        with pytest.raises(InputError, match="unit: expected one of m, cm, mm, in"):
            read_bvh(written(tmp_path, FILE), unit=unit)


def test_read__thousands_of_nested_joints(tmp_path):
    count = 3000
    opening = "".join(f"JOINT j{place} {{ OFFSET 0 0.05 0 CHANNELS 0 \n" for place in range(count))
    opening = opening.replace(" CHANNELS", "\nCHANNELS")
    text = f"HIERARCHY\nROOT r {{ OFFSET 0 0 0\nCHANNELS 1 Xrotation\n{opening}{'}' * (count + 1)}\nMOTION\n"
    motion = read_bvh(written(tmp_path, text + "Frames: 1\nFrame Time: 1\n0\n"), unit="cm")
    assert motion.positions()[0, -1, 1].item() == pytest.approx(1.5, rel=1e-4)


def test_read__too_many_joints_and_an_endless_line(tmp_path):
    joints = "".join(f"JOINT j{place} {{\nOFFSET 0 0 0\nCHANNELS 0\n}}\n" for place in range(10_001))
    with pytest.raises(FormatError, match="more than 10000 joints"):
        read_bvh(written(tmp_path, "HIERARCHY\nROOT r\n{\nOFFSET 0 0 0\nCHANNELS 0\n" + joints))
    with pytest.raises(FormatError, match="a line of"):
        read_bvh(written(tmp_path, FILE + "0 " * (5 << 20)))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__cut_anywhere(tmp_path):
    whole = read_bvh(written(tmp_path, FILE))
    first = FILE.index("0.0333333") + len("0.03")
    for place in range(len(FILE)):
        path = written(tmp_path, FILE[:place])
        try:
            motion = read_bvh(path)
        except FormatError:
            continue
        assert place >= first  # the whole hierarchy, and a frame time above 0
        assert motion.tree == whole.tree
        assert motion.length <= 2


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=30), st.integers(0, len(FILE)), st.integers(0, 60))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("bvh") / "a.bvh"
    content = FILE.encode()
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        motion = read_bvh(path)
    except MareyError:
        return
    assert motion.positions().shape == (motion.length, len(motion.tree), 3)


def test_write__exact_text(tmp_path):
    quarter = [[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]
    motion = Motion(
        tree=JointTree("small", ("pelvis", "left knee", "head", "head_end"), (-1, 0, 0, 2)),
        offsets=torch.tensor([[0, 0, 0], [0.1, -0.4, 0], [0, 0.6, 0], [0, 0.2, 0]]),
        rotations=torch.tensor([[np.eye(3).tolist(), quarter, np.eye(3).tolist(), np.eye(3).tolist()]]),
        translation=torch.tensor([[0.5, 1.0, -0.25]]),
        fps=25.0,
    )
    write_bvh(tmp_path / "out.bvh", motion)
    assert (tmp_path / "out.bvh").read_text() == (
        "HIERARCHY\n"
        "ROOT pelvis\n"
        "{\n"
        "\tOFFSET 0.000000 0.000000 0.000000\n"
        "\tCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
        "\tJOINT left_knee\n"
        "\t{\n"
        "\t\tOFFSET 10.000000 -40.000001 0.000000\n"
        "\t\tCHANNELS 3 Zrotation Xrotation Yrotation\n"
        "\t\tEnd Site\n"
        "\t\t{\n"
        "\t\t\tOFFSET 0.000000 0.000000 0.000000\n"
        "\t\t}\n"
        "\t}\n"
        "\tJOINT head\n"
        "\t{\n"
        "\t\tOFFSET 0.000000 60.000002 0.000000\n"
        "\t\tCHANNELS 3 Zrotation Xrotation Yrotation\n"
        "\t\tEnd Site\n"
        "\t\t{\n"
        "\t\t\tOFFSET 0.000000 20.000000 0.000000\n"
        "\t\t}\n"
        "\t}\n"
        "}\n"
        "MOTION\n"
        "Frames: 1\n"
        "Frame Time: 0.040000000\n"
        "50.000000 100.000000 -25.000000 0.000000 0.000000 0.000000 90.000000 0.000000 0.000000 "
        "0.000000 0.000000 0.000000\n"
    )


@pytest.mark.parametrize("order", ["ZXY", "XYZ", "ZYX"])
@pytest.mark.parametrize(("unit", "metres"), [("cm", 0.01), ("m", 1.0)])
def test_write__another_program_finds_the_joints(tmp_path, order, unit, metres):
    motion = random_motion(frames=5)
    write_bvh(tmp_path / "out.bvh", motion, order=order, unit=unit)
    found = independent_positions(tmp_path / "out.bvh", motion.tree.joints, range(5)) * metres
    np.testing.assert_allclose(found, motion.positions(), atol=1e-5)


def test_write__angles_have_no_jumps(tmp_path):
    turns = torch.zeros(40, 1, 3)
    turns[:, 0, 2] = torch.linspace(0, 4 * math.pi, 40)
    motion = Motion(
        tree=JointTree("top", ("top",), (-1,)),
        offsets=torch.zeros(1, 3),
        rotations=rotvec_to_matrix(turns),
        translation=torch.zeros(40, 3),
        fps=30.0,
    )
    write_bvh(tmp_path / "out.bvh", motion)
    rows = (tmp_path / "out.bvh").read_text().split("0.033333333\n")[1].splitlines()
    angles = np.array([float(row.split()[3]) for row in rows])
    np.testing.assert_allclose(angles, np.linspace(0, 720, 40), atol=1e-3)


def test_write__gaps_are_filled_with_a_warning(tmp_path):
    motion = random_motion(frames=6)
    motion.rotations[1:3] = math.nan
    with pytest.warns(UserWarning, match="'somebody' is unknown in 2 of 6 frames, and BVH has no gaps"):
        write_bvh(tmp_path / "out.bvh", motion)
    assert "nan" not in (tmp_path / "out.bvh").read_text()


def test_write__names_that_become_equal_are_numbered(tmp_path):
    motion = random_motion(count=3)
    object.__setattr__(motion, "tree", JointTree("t", ("a", "b c", "b_c"), (-1, 0, 0)))
    with pytest.warns(UserWarning, match="names repeat"):
        write_bvh(tmp_path / "out.bvh", motion)
    assert re.findall("JOINT (.*)", (tmp_path / "out.bvh").read_text()) == ["b_c", "b_c_2"]


@pytest.mark.parametrize(
    ("change", "message"), [({"unit": "foot"}, "unit: expected"), ({"order": "ZXZ"}, "order: expected X, Y and Z")]
)
def test_write__bad_argument_leaves_no_file(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        write_bvh(tmp_path / "out.bvh", random_motion(), **change)
    assert not list(tmp_path.iterdir())


def test_write__nobody_known(tmp_path):
    motion = random_motion()
    motion.translation[:] = math.nan
    with pytest.raises(InputError, match="known in none of 7 frames"):
        write_bvh(tmp_path / "out.bvh", motion)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from(["ZXY", "YXZ", "XYZ"]))
def test_round_trip__random_motions(tmp_path_factory, seed, count, order):
    path = tmp_path_factory.mktemp("bvh") / "a.bvh"
    motion = random_motion(seed, frames=3, count=count)
    write_bvh(path, motion, order=order)
    found = read_bvh(path, unit="cm", dtype=torch.float64)
    places = [found.tree.joints.index(name) for name in motion.tree.joints]
    torch.testing.assert_close(found.positions()[:, places], motion.positions(), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.rotations[:, places], motion.rotations, atol=1e-6, rtol=0)
    assert found.fps == 50


@pytest.mark.realdata
def test_read__real_file_as_another_program(shared_data, tmp_path):
    path = shared_data / "mocap_cmu" / "01_01.bvh"
    unit = 0.0254 / 0.45  # CMU's lengths are inches, times 0.45
    motion = read_bvh(path, unit=unit)
    assert (motion.length, motion.fps) == (2752, 120)
    joints = [name for name in motion.tree.joints if not name.endswith("_end")]
    assert len(joints) == 31
    places = [motion.tree.joints.index(name) for name in joints]
    frames = range(0, 2752, 250)
    np.testing.assert_allclose(
        motion.positions()[list(frames)][:, places],
        independent_positions(shortened(path, tmp_path, frames), joints, range(len(frames))) * unit,
        atol=1e-5,
    )


def shortened(path, folder, frames):
    """A copy with some of the frames, because the other program takes seconds for all."""
    lines = path.read_text().splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("Frame Time")) + 1
    lines[start - 2] = f"Frames: {len(frames)}"
    (folder / "short.bvh").write_text("\n".join(lines[:start] + [lines[start + frame] for frame in frames]) + "\n")
    return folder / "short.bvh"
