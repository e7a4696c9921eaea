import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.camera_parts import (
    CameraEntry,
    assemble,
    checked_rotation,
    disassemble,
    file_names,
    limited_distortion,
    parse_numbers,
)


def entry(name, center=0.0, **changes):
    values = {
        "name": name,
        "matrix": np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]]),
        "pose": (np.eye(3), np.array([-center, 0, 0])),
    }
    return CameraEntry(**values | changes)


@pytest.mark.parametrize("text", ["1", "-.5", "+2.", "1e-3", "12.5E+2"])
def test_parse__decimals_as_every_program_writes_them(text):
    assert parse_numbers("x", text, 1)[0] == float(text)


@pytest.mark.parametrize("text", ["1,5", "nan", "inf", "1_000", "0x1", "1e", "--1", "٣", "1e999"])
def test_parse__anything_else_is_refused(text):
    with pytest.raises(FormatError, match="finite"):
        parse_numbers("x", text, 1)


def test_assemble__unit_by_name_by_number_and_as_stated():
    rig = [entry("b", 2.0), entry("a", 0.0)]
    path = Path("x")
    assert assemble(path, rig).centers[:, 0].tolist() == [0, 2]
    assert assemble(path, rig, unit=0.5).centers[1, 0] == 1
    assert assemble(path, rig, unit=0.5, stated="mm").centers[1, 0] == 1
    assert assemble(path, [entry("a"), entry("b", 2000.0)], stated="mm").centers[1, 0] == 2
    for unit in (0, -1, float("nan"), "inch"):
        with pytest.raises(InputError, match="expected one of m, cm, mm, in, or the metres in one unit"):
            assemble(path, rig, unit=unit)


def test_assemble__says_the_unit_as_it_was_given():
    with pytest.raises(CalibrationError, match=r"in units of 0\.001 m the cameras would stand 0\.002 m apart"):
        assemble(Path("x"), [entry("a"), entry("b", 2.0)], unit=0.001)
    with pytest.warns(UserWarning, match="in units of 100 m the cameras would stand 200 m apart"):
        assemble(Path("x"), [entry("a"), entry("b", 2.0)], unit=100)


def test_assemble__thousands_of_cameras_are_judged_by_a_sample():
    rig = [entry(f"image_{place}", center=0.01 * place) for place in range(5000)]
    cameras = assemble(Path("x"), rig)
    assert len(cameras.names) == 5000
    assert cameras.names[10] == "image_10"


def test_assemble__mixed_lenses_are_padded():
    cameras = assemble(
        Path("x"),
        [entry("a", distortion=np.array([0.1])), entry("b", 1.0, distortion=np.full(6, 0.2)), entry("c", 2.0)],
    )
    assert cameras.distortion.shape == (3, 8)
    assert cameras.distortion[0].tolist() == pytest.approx([0.1] + [0] * 7)


def test_rotation__vector_and_matrix():
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert checked_rotation("x", np.array([0, 0, np.pi / 2])) == pytest.approx(quarter)
    assert checked_rotation("x", quarter.ravel()).tolist() == quarter.tolist()
    for wrong in (-np.eye(3), 2 * np.eye(3), np.full((3, 3), 1e200)):
        with pytest.raises(FormatError, match="not a rotation matrix"):
            checked_rotation("x", wrong)
    with pytest.raises(FormatError, match="4 numbers"):
        checked_rotation("x", np.zeros(4))


def test_disassemble__names_and_shapes():
    camera = Cameras(intrinsics=torch.eye(3)[None], distortion=torch.zeros(1, 0), image_size=torch.ones(1, 2))
    (found,) = disassemble(camera)
    assert found.name == "cam_0"
    assert found.pose is None
    with pytest.raises(CalibrationError, match=r"expected the batch shape \(V,\)"):
        disassemble(camera[0])


def test_limited_distortion__zeros_are_no_loss():
    assert limited_distortion(entry("a", distortion=np.array([1.0, 2])), 4, "X").tolist() == [1, 2, 0, 0]
    assert limited_distortion(entry("a", distortion=np.array([1.0, 2, 0, 0, 0])), 4, "X").tolist() == [1, 2, 0, 0]
    with pytest.raises(CalibrationError, match="5 distortion coefficients, X holds 4"):
        limited_distortion(entry("a", distortion=np.array([1.0, 2, 0, 0, 3])), 4, "X")


def test_file_names__are_safe_and_differ():
    assert file_names([entry("cam 1"), entry("Läufer-2")]) == ["cam 1", "Läufer-2"]
    for names in (["a/b"], [".."], [""], ["a\\b"], ["Cam", "cam"], ["a."]):
        with pytest.raises(InputError, match="become file names"):
            file_names([entry(name) for name in names])


def test_assemble__a_distortion_without_inverse_is_told():
    # x (1 - r^2) turns back at r = 0.577, within an image that reaches to r = 0.8
    folded = entry("b", 2.0, distortion=np.array([-1.0, 0, 0, 0]), size=np.array([640.0, 480.0]))
    good = entry("a", distortion=np.array([-0.1, 0, 0, 0]), size=np.array([640.0, 480.0]))
    with pytest.warns(UserWarning, match=r"x: the distortion has no inverse in a part of the image of b \(\d\d% of"):
        cameras = assemble(Path("x"), [good, folded])
    assert cameras.names == ("a", "b")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assemble(Path("x"), [good, entry("b", 2.0)])
