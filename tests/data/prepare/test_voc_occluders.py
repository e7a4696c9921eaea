import struct
import zlib

import cv2
import numpy as np
import pytest

from marey.core import FormatError, InputError, MissingAssetError
from marey.data.prepare.palette_images import read_palette_image
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.data.prepare.voc_occluders import (
    VocOccludersOptions,
    read_occluders,
    read_voc_annotation,
    softened,
)

OBJECT = """  <object>
    <name>{kind}</name>
    <pose>Left</pose>
    <truncated>{truncated}</truncated>
    <difficult>{difficult}</difficult>
    <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
    {more}
  </object>
"""


def annotation(name, objects, segmented=1):
    body = "".join(
        OBJECT.format(kind=kind, box=box, truncated=flags[0], difficult=flags[1], more=more)
        for kind, box, flags, more in objects
    )
    return (
        f"<annotation>\n  <folder>VOC2012</folder>\n  <filename>{name}</filename>\n"
        f"  <size><width>120</width><height>90</height><depth>3</depth></size>\n"
        f"  <segmented>{segmented}</segmented>\n{body}</annotation>\n"
    )


def voc_palette():
    """The colours of VOC: the bits of a number spread over red, green and blue, highest first."""
    palette = np.zeros((256, 3), np.uint8)
    for number in range(256):
        rest = number
        for bit in range(7, -1, -1):
            for channel in range(3):
                palette[number, channel] |= ((rest >> channel) & 1) << bit
            rest >>= 3
    return palette


def write_palette_png(path, numbers, palette=None, kind=3):
    """A PNG by its specification: signature, IHDR, PLTE, IDAT of unfiltered rows, IEND."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = numbers.shape
    rows = b"".join(b"\0" + row.tobytes() for row in numbers.astype(np.uint8))
    palette = voc_palette() if palette is None else palette
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0))
        + (chunk(b"PLTE", palette.tobytes()) if kind == 3 else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@pytest.fixture
def download(tmp_path):
    """One image: a person, a chair, a bottle too small, a sofa cut off, a plant that is difficult."""
    folder = tmp_path / "voc-occluders/VOCdevkit/VOC2012"
    for part in ("Annotations", "JPEGImages", "SegmentationObject"):
        (folder / part).mkdir(parents=True)
    objects = [
        ("person", (0, 0, 30, 60), (0, 0), "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"),
        ("chair", (40, 20, 80, 60), (0, 0), ""),
        ("bottle", (90, 10, 100, 20), (0, 0), ""),
        ("sofa", (0, 60, 60, 90), (1, 0), ""),
        ("pottedplant", (80, 60, 120, 90), (0, 1), ""),
    ]
    (folder / "Annotations/2007_000001.xml").write_text(annotation("2007_000001.jpg", objects))
    (folder / "Annotations/2007_000002.xml").write_text(annotation("2007_000002.jpg", objects, segmented=0))
    numbers = np.zeros((90, 120), np.uint8)
    for number, (_, (left, top, right, bottom), _, _) in enumerate(objects, 1):
        numbers[top:bottom, left:right] = number
    numbers[20:30, 40:80] = 255  # the border that nobody owns
    write_palette_png(folder / "SegmentationObject/2007_000001.png", numbers)
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:60, 40:80] = (20, 120, 220)  # blue, green, red
    cv2.imwrite(str(folder / "JPEGImages/2007_000001.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    return tmp_path / "voc-occluders"


def prepared(root, out, **options):
    source = data_source("voc-occluders")
    return prepare_data_set(source, root, out, VocOccludersOptions(**options), show=False)


def test_occluders__are_whole_objects_that_are_no_people(download, tmp_path):
    prepared(download, tmp_path / "o")
    found = read_occluders(tmp_path / "o/occluders.npz")
    assert found.names.tolist() == ["2007_000001/1"]
    assert found.kinds.tolist() == ["chair"]
    pixels, opacity = found[0]
    assert pixels.shape == (20, 20, 3)
    assert opacity.shape == (20, 20)
    np.testing.assert_allclose(pixels[10, 10], [220, 120, 20], atol=3)
    assert (opacity[:5] == 0).all()  # the border above the chair, at half size
    assert opacity[12, 10] == 1
    assert opacity[5, 10] == pytest.approx(0.75, abs=1 / 255)


def test_softened__has_a_rim_of_three_quarters():
    mask = np.zeros((40, 40), np.uint8)
    mask[8:32, 8:32] = 1
    soft = softened(mask)
    assert set(np.unique(soft)) == {0.0, 0.75, 1.0}
    # the ellipse of 8 x 8 reaches 4 pixels up and left, 3 down and right of its anchor
    assert soft[20].tolist() == [0.0] * 8 + [0.75] * 4 + [1.0] * 17 + [0.75] * 3 + [0.0] * 8


def test_least_pixels__decides(download, tmp_path):
    prepared(download, tmp_path / "o", least_pixels=100)
    assert read_occluders(tmp_path / "o/occluders.npz").kinds.tolist() == ["chair", "bottle"]
    with pytest.raises(InputError, match="object of 5000 pixels"):
        prepared(download, tmp_path / "p", least_pixels=5000)


def test_occluders__several_come_back_each_by_itself(download, tmp_path):
    prepared(download, tmp_path / "o", least_pixels=100)
    found = read_occluders(tmp_path / "o/occluders.npz")
    assert len(found) == 2
    assert found[1][0].shape == (5, 5, 3)
    assert found[1][1].max() == pytest.approx(1, abs=0.01)


def test_missing__says_which_folder(tmp_path):
    with pytest.raises(MissingAssetError, match=r"Annotations.*Pascal VOC 2012"):
        prepared(tmp_path, tmp_path / "o")


def test_annotation__damaged(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<annotation><filename>a.jpg</filename>")
    with pytest.raises(FormatError, match="not XML"):
        read_voc_annotation(path)
    path.write_text("<annotation><filename>a.jpg</filename></annotation>")
    with pytest.raises(FormatError, match="'segmented'"):
        read_voc_annotation(path)
    path.write_text(annotation("a.jpg", [("chair", (40, 20, 40, 60), (0, 0), "")]))
    with pytest.raises(FormatError, match="has no area"):
        read_voc_annotation(path)
    path.write_text(annotation("a.jpg", [("chair", ("x", 20, 40, 60), (0, 0), "")]))
    with pytest.raises(FormatError, match="an object lacks or damages"):
        read_voc_annotation(path)
    path.write_text(annotation("a.jpg", [("chair", (40, 20, "inf", 60), (0, 0), "")]))
    with pytest.raises(FormatError, match="an object lacks or damages"):
        read_voc_annotation(path)
    path.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + annotation("a.jpg", []))
    with pytest.raises(FormatError, match="entities"):
        read_voc_annotation(path)


def test_palette__gives_numbers_not_colours(tmp_path):
    numbers = np.arange(256, dtype=np.uint8).reshape(16, 16)
    write_palette_png(tmp_path / "a.png", numbers)
    np.testing.assert_array_equal(read_palette_image(tmp_path / "a.png"), numbers)
    write_palette_png(tmp_path / "b.png", numbers, kind=0)
    np.testing.assert_array_equal(read_palette_image(tmp_path / "b.png"), numbers)


def test_palette__that_cannot_be_told_apart(tmp_path):
    palette = voc_palette()
    palette[7] = palette[3]
    write_palette_png(tmp_path / "a.png", np.full((4, 4), 9), palette)
    assert (read_palette_image(tmp_path / "a.png") == 9).all()
    write_palette_png(tmp_path / "b.png", np.full((4, 4), 7), palette)
    with pytest.raises(FormatError, match="the same colour"):
        read_palette_image(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(b"GIF89a")
    with pytest.raises(FormatError, match="not a PNG"):
        read_palette_image(tmp_path / "c.png")
    cv2.imwrite(str(tmp_path / "d.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(FormatError, match="expected a PNG with a palette"):
        read_palette_image(tmp_path / "d.png")


def test_occluders_file__damaged(tmp_path):
    np.savez(tmp_path / "a.npz", format=1, names=np.array(["a"]))
    with pytest.raises(FormatError, match="no objects to paste"):
        read_occluders(tmp_path / "a.npz")
    keys = {"names": np.array(["a"]), "kinds": np.array(["chair"]), "sizes": np.array([[2, 3]])}
    np.savez(tmp_path / "b.npz", format=1, pixels=np.zeros((5, 3), np.uint8), opacity=np.zeros(6, np.uint8), **keys)
    with pytest.raises(FormatError, match="not those of 1 objects"):
        read_occluders(tmp_path / "b.npz")
