import struct

import cv2
import numpy as np
import pytest

from marey.core import ShapeError
from marey.core.skeletons import skeleton
from marey.data.prepare.annotated_pictures import PicturePeople, picture_size, relative_path


def test_picture_size__as_the_image_is_shown(tmp_path):
    data = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    (tmp_path / "plain.jpg").write_bytes(data)
    assert picture_size(tmp_path / "plain.jpg") == (50, 30)
    # EXIF: little-endian TIFF, one entry: orientation (0x0112), a short, 6 = turned by a quarter
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", 2 + 6 + len(tiff)) + b"Exif\0\0" + tiff
    (tmp_path / "turned.jpg").write_bytes(data[:2] + segment + data[2:])
    assert picture_size(tmp_path / "turned.jpg") == (30, 50)


def test_relative_path__leads_from_the_folder_to_the_file(tmp_path):
    assert relative_path(tmp_path / "a" / "b.jpg", tmp_path / "out" / "set") == "../../a/b.jpg"


def test_people__columns_of_other_lengths_are_an_error():
    with pytest.raises(ShapeError, match="as many images, persons"):
        PicturePeople(
            skeleton=skeleton("coco_17"),
            paths=(),
            sizes=np.zeros((0, 2), int),
            splits=np.zeros(0, "U1"),
            frames=np.zeros(0, int),
            image=np.zeros(1, int),
            person=np.zeros(0, int),
            keypoints=np.zeros((0, 17, 2)),
            visible=np.zeros((0, 17), bool),
            box=np.zeros((0, 4)),
        )
