"""Which format a file is, and the way there and back through each."""

import os
import random
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from damaged import mutated, read_changed
from marey.core import CalibrationError, Cameras, FormatError, InputError
from marey.io.camera_files import CAMERA_FORMATS, camera_format, read_cameras, target_camera_format, write_cameras
from synthetic import some_rotations

YAML = "%YAML:1.0\n---\nK_a: !!opencv-matrix\n"
FILES = {
    "calibration.toml": ("", "toml"),
    "anything.qca.txt": ("<?xml version='1.0'?><calibration><camera/></calibration>", "qualisys"),
    "anything.xml": ("\ufeff<calibration><cameras><camera/></cameras></calibration>", "qualisys"),
    "intri.yml": (YAML, "easymocap"),
    "other.yaml": (YAML, "easymocap"),
    "no_suffix": (YAML, "easymocap"),
    "calibration_1.json": ('{"cameras": [{"K": 1}]}', "panoptic"),
    "cameras.json": ('{"cameras": [{"matrix_world": 1}]}', "blender"),
    "cameras.txt": ("# COLMAP", "colmap"),
    "images.txt": ("# COLMAP", "colmap"),
    "00.calib": ("", "biocv"),
    "00": ("1920\r\n1080\r\n1 0 0\r\n", "biocv"),
    "cam.pickle": ("", "opencap"),
    "toml without suffix": ("[cam_0]\nmatrix = [[1]]\n", "toml"),
}


@pytest.mark.parametrize("name", FILES)
def test_format__of_a_file(tmp_path, name):
    content, expected = FILES[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert camera_format(tmp_path / name) == expected


def test_format__of_a_pickle_without_suffix(tmp_path):
    (tmp_path / "camera").write_bytes(b"\x80\x03}.")
    assert camera_format(tmp_path / "camera") == "opencap"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["cameras.txt", "images.txt"], "colmap"),
        (["cameras.bin"], "colmap"),
        (["intri.yml", "extri.yml", "1.mp4"], "easymocap"),
        (["00.calib", "00.mp4"], "biocv"),
        (["Cam0/cameraIntrinsicsExtrinsics.pickle"], "opencap"),
        (["a.pkl"], "opencap"),
    ],
)
def test_format__of_a_folder(tmp_path, files, expected):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert camera_format(tmp_path) == expected


def test_format__unknown_or_ambiguous_lists_what_is_known(tmp_path):
    with pytest.raises(FormatError, match=r"is no camera file that is known\. Known are: toml: .*; blender: "):
        camera_format(tmp_path)
    (tmp_path / "poem.txt").write_text("roses")
    with pytest.raises(FormatError, match=r"poem\.txt is no camera file"):
        camera_format(tmp_path / "poem.txt")
    (tmp_path / "x.json").write_text('{"cameras": [{"K": 1, "matrix_world": 2}]}')
    with pytest.raises(FormatError, match="is blender and panoptic at once; say which"):
        camera_format(tmp_path / "x.json")
    (tmp_path / "intri.yml").touch()
    (tmp_path / "0.calib").touch()
    with pytest.raises(FormatError, match="is easymocap and biocv at once"):
        camera_format(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        camera_format(tmp_path / "absent")


def test_read_and_write__format_by_name(tmp_path):
    with pytest.raises(InputError, match=r"format: expected one of toml, .*, got 'fbx'"):
        read_cameras(tmp_path, format="fbx")
    with pytest.raises(InputError, match="got 'fbx'"):
        write_cameras(tmp_path, cameras(), format="fbx")
    write_cameras(tmp_path / "x.calibration", cameras(), format="panoptic")
    assert read_cameras(tmp_path / "x.calibration", format="panoptic").names == ("cam_1", "cam_2", "cam_3")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.toml", "toml"),
        ("camera_array.toml", "caliscope"),
        ("a.qca.txt", "qualisys"),
        ("rig/intri.yml", "easymocap"),
        ("a.calib", "biocv"),
        ("A.PICKLE", "opencap"),
    ],
)
def test_target__by_the_end_of_the_name(name, expected):
    assert target_camera_format(name) == expected


@pytest.mark.parametrize("name", ["folder", "a.json", "a.txt"])
def test_target__that_says_nothing_is_told(name):
    with pytest.raises(FormatError, match="does not say which camera format to write; give one of toml, "):
        target_camera_format(name)


def cameras(seed=0, terms=5):
    random = np.random.default_rng(seed)
    matrix = np.zeros((3, 3, 3))
    matrix[:, [0, 1], [0, 1]] = random.uniform(300, 3000, (3, 2))
    matrix[:, :2, 2] = random.uniform(100, 900, (3, 2))
    matrix[:, 2, 2] = 1
    distortion = np.zeros((3, 5))
    distortion[:, :terms] = random.normal(0, 0.1, (3, terms))
    return Cameras(
        intrinsics=torch.from_numpy(matrix),
        distortion=torch.from_numpy(distortion),
        image_size=torch.from_numpy(random.integers(200, 4000, (3, 2)).astype(float)),
        rotation=some_rotations(3, seed=seed, spread=2.0),
        translation=torch.from_numpy(random.normal(0, 3, (3, 3))),
        names=("cam_1", "cam_2", "cam_3"),
    )


@pytest.mark.parametrize("name", CAMERA_FORMATS)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31), terms=st.sampled_from([0, 2, 4, 5]))
def test_write_then_read__gives_the_cameras_back(tmp_path_factory, name, seed, terms):
    """Beside the tests by hand in each format's own file: no format loses what it does not refuse."""
    path = tmp_path_factory.mktemp(name) / "rig"
    before = cameras(seed, terms)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of Blender's lenses and COLMAP's scale
        write_cameras(path, before, format=name)
        after = read_cameras(path, format=name, dtype=torch.float64)
    assert after.names == before.names
    after_terms = torch.nn.functional.pad(after.distortion, (0, 5))[:, :5]
    for one, other in (
        (after.intrinsics, before.intrinsics),
        (after_terms, before.distortion),
        (after.image_size, before.image_size),
        *zip(after.extrinsics, before.extrinsics, strict=True),
    ):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_caliscope__needs_numbers(tmp_path):
    rig = cameras()
    unnamed = Cameras(
        intrinsics=rig.intrinsics, distortion=rig.distortion, image_size=rig.image_size, names=("a", "b", "c")
    )
    with pytest.raises(InputError, match="Caliscope numbers its cameras, but the names are a, b, c"):
        write_cameras(tmp_path / "camera_array.toml", unnamed)


@pytest.mark.parametrize("name", sorted(set(CAMERA_FORMATS) - {"toml", "caliscope", "easymocap"}))
def test_write__without_places_is_told(tmp_path, name):
    rig = cameras()
    lenses = Cameras(intrinsics=rig.intrinsics, distortion=torch.zeros(3, 0), image_size=rig.image_size)
    with pytest.raises(CalibrationError, match="has no rotation and translation"):
        write_cameras(tmp_path / "rig", lenses, format=name)


@pytest.mark.slow
@pytest.mark.parametrize("name", CAMERA_FORMATS)
def test_read__mutated_files_are_typed_errors_or_cameras(tmp_path, name):
    """MAREY_FUZZ inputs a format, 3000 if that is not set, each file of a rig changed in turn."""
    rig = tmp_path / "rig"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        write_cameras(rig, cameras(), format=name)
    files = [rig] if rig.is_file() else sorted(path for path in rig.rglob("*") if path.is_file())
    contents = [path.read_bytes() for path in files]
    chance = random.Random(len(name))
    for turn in range(int(os.environ.get("MAREY_FUZZ", "3000"))):
        place = turn % len(files)
        changed = mutated(contents[place], chance)
        read_changed(lambda _: read_cameras(rig, format=name), files[place], changed, b"", 0, 0)
        files[place].write_bytes(contents[place])


@pytest.mark.realdata
def test_recording__takes_a_qualisys_calibration(shared_data):
    from marey.io.recordings import open_recording

    demo = shared_data / "pose2sim_demo"
    poses = sorted((demo / "balancing" / "pose").glob("*_json"))
    recording = open_recording(poses, calibration=demo / "calibration" / "Calib.qca.txt")
    assert recording.cameras.names == ("cam_01", "cam_02", "cam_03", "cam_04")
    assert recording.cameras.distortion[0, 0] == pytest.approx(-0.046183)
