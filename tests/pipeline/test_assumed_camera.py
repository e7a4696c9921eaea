"""The camera of a single view: calibrated, stated, in the picture's own header, or assumed."""

import math
import struct
import zlib
from dataclasses import replace

import pytest
import torch

from marey.core import InputError, Recording
from marey.io.images import ImageFrames
from marey.pipeline.assumed_camera import ASSUMED_DEVIATION, FIELD_OF_VIEW, STATED_DEVIATION, single_camera
from synthetic import some_cameras


def png(width, height, exif=None):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))]
    parts += [] if exif is None else [chunk(b"eXIf", exif)]
    parts.append(chunk(b"IDAT", zlib.compress(bytes((1 + 3 * width) * height))))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def film(millimetres):
    """An EXIF block: one directory that points to the EXIF directory, which holds FocalLengthIn35mmFilm."""
    first = struct.pack(">HHHIII", 1, 34665, 4, 1, 26, 0)
    return b"MM\0*" + struct.pack(">I", 8) + first + struct.pack(">HHHIHHI", 1, 41989, 3, 1, millimetres, 0, 0)


def recording(folder, *, exif=None, size=(64, 48)):
    (folder / "photo.png").write_bytes(png(*size, exif))
    return Recording(names=("photo",), frames=(ImageFrames(folder / "photo.png"),))


def angle(cameras):
    return 2 * math.degrees(math.atan(float(cameras.image_size.max() / 2 / cameras.intrinsics[0, 0, 0])))


def test_single_camera__assumed(tmp_path):
    camera = single_camera(recording(tmp_path), None)
    assert angle(camera.cameras) == pytest.approx(FIELD_OF_VIEW, abs=1e-3)
    assert camera.focal_deviation == ASSUMED_DEVIATION
    assert camera.cameras.image_size.tolist() == [[64, 48]]
    assert camera.cameras.names == ("photo",)
    assert not camera.placed
    assert torch.equal(camera.cameras.rotation, torch.eye(3)[None])
    assert "--fov" in camera.notes[0]
    assert "own frame" in camera.notes[1]


def test_single_camera__stated(tmp_path):
    camera = single_camera(recording(tmp_path, exif=film(28)), 70.0)
    assert angle(camera.cameras) == pytest.approx(70.0, abs=1e-3)
    assert camera.focal_deviation == STATED_DEVIATION
    assert "as given" in camera.notes[0]


def test_single_camera__from_the_picture(tmp_path):
    camera = single_camera(recording(tmp_path, exif=film(28)), None)
    # the diagonal of 36 x 24 mm is 43.27 mm, that of 64 x 48 pixels is 80
    assert float(camera.cameras.intrinsics[0, 0, 0]) == pytest.approx(28 * 80 / 43.2666, rel=1e-4)
    assert camera.focal_deviation == STATED_DEVIATION
    assert "28 mm in 35 mm film" in camera.notes[0]


@pytest.mark.parametrize("exif", [film(0), film(28)[:30], b"MM\0*junk", b""])
def test_single_camera__a_damaged_header_says_nothing(tmp_path, exif):
    assert angle(single_camera(recording(tmp_path, exif=exif), None).cameras) == pytest.approx(FIELD_OF_VIEW, abs=1e-3)


def test_single_camera__calibrated(tmp_path):
    known = some_cameras(views=1)
    placed = single_camera(replace(recording(tmp_path), cameras=known), None)
    assert placed.cameras is known
    assert placed.placed
    assert placed.focal_deviation == 0
    assert placed.notes == ()
    lens = replace(known, rotation=None, translation=None)
    own = single_camera(replace(recording(tmp_path), cameras=lens), None)
    assert not own.placed
    assert own.cameras.has_extrinsics
    assert own.focal_deviation == 0
    with pytest.raises(InputError, match="leave one of them out"):
        single_camera(replace(recording(tmp_path), cameras=known), 60.0)


def test_single_camera__keypoint_files_do_not_say_their_size():
    with pytest.raises(InputError, match="--calibration"):
        single_camera(Recording(names=("a",), frames=(None,)), None)
