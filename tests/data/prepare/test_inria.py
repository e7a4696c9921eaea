import pickle

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.inria import InriaOptions, list_person_free, square
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.io.images import read_image


def jpeg(path, image, orientation=None):
    """A JPEG with an EXIF orientation: APP1 with a TIFF of one entry, tag 0x0112 of type SHORT."""
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    if orientation is not None:
        entry = b"\x01\x12\x00\x03\x00\x00\x00\x01" + bytes([0, orientation]) + b"\x00\x00"
        exif = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01" + entry + b"\x00\x00\x00\x00"
        data = data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
    path.write_bytes(data)


@pytest.fixture
def download(tmp_path):
    """A wide picture, red in its middle square; a picture on its side, green above; a third."""
    folder = tmp_path / "inria/jpg"
    folder.mkdir(parents=True)
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = (200, 0, 0)
    jpeg(folder / "100000.jpg", wide)
    lying = np.zeros((40, 40, 3), np.uint8)
    lying[:, :20] = (0, 200, 0)  # orientation 6: stored left is displayed above
    jpeg(folder / "100001.jpg", lying, orientation=6)
    jpeg(folder / "100100.jpg", np.full((20, 30, 3), 90, np.uint8))
    return tmp_path / "inria"


def prepared(root, out, **options):
    return prepare_data_set(data_source("inria"), root, out, InriaOptions(**options), show=False)


def test_backgrounds__are_upright_middle_squares(download, tmp_path):
    assert prepared(download, tmp_path / "o") is None
    image = read_image(tmp_path / "o/images/100000.jpg")
    assert image.shape == (512, 512, 3)
    assert (np.abs(image[20:-20, 20:-20].astype(int) - (200, 0, 0)) < 12).all()
    image = read_image(tmp_path / "o/images/100001.jpg").astype(int)
    assert image[100, :, 1].min() > 180
    assert image[400, :, 1].max() < 20


def test_square__of_an_odd_difference_is_cut_as_the_original_cuts():
    image = np.zeros((4, 9, 3), np.uint8)
    image[:, 2] = 255  # (9 - 4) // 2 = 2 is the first column kept
    assert square(image, 4)[0, :, 0].tolist() == [255, 0, 0, 0]
    assert square(image.swapaxes(0, 1), 4)[:, 0, 0].tolist() == [255, 0, 0, 0]


def test_list__has_the_pictures_without_boxes(download, tmp_path):
    boxes = {"100000.jpg": [], "jpg_small/100001.jpg": [[1, 2, 3, 4, 0.3]], "100100.jpg": []}
    (download / "yolov3_person_detections.pkl").write_bytes(pickle.dumps(boxes))
    prepared(download, tmp_path / "o")
    assert (tmp_path / "o/non_person_images.txt").read_text() == "100000.jpg\n100100.jpg\n"
    prepared(download, tmp_path / "p", least_confidence=0.5)
    assert (tmp_path / "p/non_person_images.txt").read_text() == "100000.jpg\n100001.jpg\n100100.jpg\n"


def test_list__without_detections_is_not_written_and_the_card_says_so(download, tmp_path):
    prepared(download, tmp_path / "o")
    assert not (tmp_path / "o/non_person_images.txt").exists()
    assert "was not written" in (tmp_path / "o/card.json").read_text()


def test_list__of_other_pictures_is_refused(download, tmp_path):
    path = tmp_path / "boxes.json"
    path.write_text('{"100000.jpg": [], "999999.jpg": []}')
    with pytest.raises(InputError, match=r"2 of 3 pictures are not among them, such as 100001\.jpg"):
        prepared(download, tmp_path / "o", detections=path)


def test_list__by_a_function_that_finds_people(download, tmp_path):
    prepared(download, tmp_path / "o")

    def where_green(image):
        green = (image[..., 1] > 150) & (image[..., 0] < 100)
        return [[0.0, 0.0, 9.0, 9.0, float(green.any())]]

    assert list_person_free(tmp_path / "o", where_green) == ("100000.jpg", "100100.jpg")
    assert (tmp_path / "o/non_person_images.txt").read_text() == "100000.jpg\n100100.jpg\n"
    with pytest.raises(InputError, match="no pictures"):
        list_person_free(tmp_path, where_green)


def test_resume__goes_on_after_a_damaged_picture(download, tmp_path):
    path = download / "jpg/100100.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    with pytest.raises(FormatError, match=r"100100\.jpg"):
        prepared(download, tmp_path / "o")
    kept = (tmp_path / "o/images/100000.jpg").stat().st_mtime_ns
    path.write_bytes(whole)
    prepared(download, tmp_path / "o")
    assert (tmp_path / "o/images/100000.jpg").stat().st_mtime_ns == kept
    assert (tmp_path / "o/images/100100.jpg").exists()


def test_missing__says_where_it_comes_from(tmp_path):
    with pytest.raises(MissingAssetError, match=r"jpg.*INRIA Holidays.*lear\.inrialpes"):
        prepared(tmp_path / "inria", tmp_path / "o")
