import contextlib
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, FrameSource, InputError, MareyError
from marey.io.image_headers import read_image_header
from marey.io.images import ImageFrames, read_image, read_image_bgr, write_image

# 3 wide, 2 high, all six pixels of another colour
PICTURE = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [0, 255, 255], [90, 90, 90]]], dtype=np.uint8
)


def png(pixels, *chunks, claim=None):
    """A PNG written from the specification; `chunks` go before the pixels, `claim` is a false width and height."""
    height, width = pixels.shape[:2]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *(claim or (width, height)), 8, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    parts = [chunk(b"IHDR", header), *(chunk(*extra) for extra in chunks), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def exif(orientation, order=">"):
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 274, 3, 1, orientation, 0, 0)


def exif_with_focal(millimetres, kind=3):
    """Orientation 6, and a directory of details with FocalLengthIn35mmFilm as a 16-bit or a 32-bit number."""
    value = struct.pack(">HH", millimetres, 0) if kind == 3 else struct.pack(">I", millimetres)
    first = struct.pack(">HHHIHH", 2, 274, 3, 1, 6, 0) + struct.pack(">HHII", 34665, 4, 1, 38)
    return b"MM" + struct.pack(">HI", 42, 8) + first + struct.pack(">IHHHI", 0, 1, 41989, kind, 1) + value


def tiff(pixels, orientation):
    height, width = pixels.shape[:2]
    data = pixels.tobytes()
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8),
               (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, len(data))]  # fmt: skip
    entries[2] = (258, 3, 3, 8 + len(data))
    bits = struct.pack("<HHH", 8, 8, 8)
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHIHH", tag, kind, count, value, 0) if kind == 3 and count == 1
        else struct.pack("<HHII", tag, kind, count, value)
        for tag, kind, count, value in entries
    )  # fmt: skip
    return b"II*\0" + struct.pack("<I", 8 + len(data) + len(bits)) + data + bits + directory + bytes(4)


def displayed(orientation):
    """EXIF's definition: where row 0 and column 0 of what is stored lie in what is shown."""
    return {
        1: PICTURE,
        2: PICTURE[:, ::-1],
        3: PICTURE[::-1, ::-1],
        4: PICTURE[::-1],
        5: PICTURE.transpose(1, 0, 2),
        6: PICTURE[::-1].transpose(1, 0, 2),
        7: PICTURE[::-1, ::-1].transpose(1, 0, 2),
        8: PICTURE.transpose(1, 0, 2)[::-1],
    }[orientation]


def test_read_image__png_is_red_green_blue(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PICTURE))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), PICTURE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", "<>")
def test_read_image__exif_in_png(tmp_path, orientation, order):
    (tmp_path / "a.png").write_bytes(png(PICTURE, (b"eXIf", exif(orientation, order))))
    found = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found, displayed(orientation))
    assert read_image_header(tmp_path / "a.png").size == found.shape[1::-1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image__exif_in_jpeg(tmp_path, orientation):
    large = PICTURE.repeat(16, 0).repeat(16, 1)
    _, encoded = cv2.imencode(".jpg", large[..., ::-1])
    content = encoded.tobytes()
    segment = b"Exif\0\0" + exif(orientation)
    (tmp_path / "a.jpg").write_bytes(
        content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    )
    found = read_image(tmp_path / "a.jpg")
    expected = displayed(orientation)
    assert found.shape == (expected.shape[0] * 16, expected.shape[1] * 16, 3)
    assert np.abs(found[8::16, 8::16].astype(int) - expected).max() < 40


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_image__tiff_orientation(tmp_path, orientation):
    (tmp_path / "a.tif").write_bytes(tiff(PICTURE, orientation))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), displayed(orientation))


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", "png"), ("jpg", "jpeg"), ("bmp", "bmp"), ("tif", "tiff"), ("webp", "webp")]
)
@pytest.mark.parametrize("size", [(1, 1), (300, 17)])
def test_read_image_header__every_kind_as_opencv_writes_it(tmp_path, suffix, kind, size):
    width, height = size
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.zeros((height, width, 3), np.uint8))
    header = read_image_header(tmp_path / f"a.{suffix}")
    assert (header.kind, header.size) == (kind, size)


def test_read_image_header__lossless_and_extended_webp_and_old_bmp(tmp_path):
    cv2.imwrite(str(tmp_path / "a.webp"), np.zeros((17, 300, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert read_image_header(tmp_path / "a.webp").size == (300, 17)
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (299).to_bytes(3, "little") + (16).to_bytes(3, "little")
    mark = b"EXIF" + struct.pack("<I", 6 + 26) + b"Exif\0\0" + exif(6)
    body = b"WEBP" + extended + mark
    (tmp_path / "b.webp").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    assert read_image_header(tmp_path / "b.webp").size == (17, 300)
    (tmp_path / "c.bmp").write_bytes(b"BM" + bytes(12) + struct.pack("<IHH", 12, 300, 17) + bytes(10))
    assert read_image_header(tmp_path / "c.bmp").size == (300, 17)


def test_read_image__grey_deep_and_transparent(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((4, 5), 7, np.uint8))
    cv2.imwrite(str(tmp_path / "deep.png"), np.full((4, 5, 3), 256 * 9, np.uint16))
    cv2.imwrite(str(tmp_path / "clear.png"), np.full((4, 5, 4), 11, np.uint8))
    for name, value in (("grey", 7), ("deep", 9), ("clear", 11)):
        found = read_image(tmp_path / f"{name}.png")
        assert (found.shape, found.dtype) == ((4, 5, 3), np.uint8)
        assert (found == value).all()


def test_read_image__bomb_is_refused_by_its_header(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(PICTURE, claim=(100_000, 100_000)))
    with pytest.raises(InputError, match="100000 x 100000 pixels, more than the budget"):
        read_image(tmp_path / "bomb.png")
    (tmp_path / "a.png").write_bytes(png(PICTURE))
    with pytest.raises(InputError, match="pass max_pixels="):
        read_image(tmp_path / "a.png", max_pixels=5)


def test_read_image__unreadable(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(FormatError, match="expected PNG, JPEG, BMP, TIFF or WebP"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(png(PICTURE)[:40])
    with pytest.raises(FormatError, match=r"b\.png: damaged png image"):
        read_image(tmp_path / "b.png")
    (tmp_path / "c.png").write_bytes(png(PICTURE, claim=(0, 2)))
    with pytest.raises(FormatError, match="0 x 2 pixels"):
        read_image(tmp_path / "c.png")
    with pytest.raises(InputError, match="cannot read"):
        read_image(tmp_path / "absent.png")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_write_image__lossless_kinds(tmp_path, suffix):
    write_image(tmp_path / f"a.{suffix}", PICTURE)
    stored = cv2.imread(str(tmp_path / f"a.{suffix}"), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(stored[..., ::-1], PICTURE)


def test_write_image__refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(InputError, match="unknown image format"):
        write_image(tmp_path / "a.xyz", PICTURE)
    with pytest.raises(InputError, match=r"expected \(height, width, 3\) of 8 bits"):
        write_image(tmp_path / "a.png", PICTURE / 255)
    with pytest.raises(InputError, match="cannot write"):
        write_image(tmp_path / "absent" / "a.png", PICTURE)
    assert not list(tmp_path.iterdir())


def test_frames__natural_order_and_range(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"shot_{number}.png").write_bytes(png(PICTURE + np.uint8(number)))
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.png").write_text("")
    source = ImageFrames(tmp_path)
    assert isinstance(source, FrameSource)
    assert (len(source), source.size, source.fps) == (3, (3, 2), None)
    assert source.timestamps.tolist() == [0, 1, 2]
    assert [int(frame[0, 1, 0]) for frame in source.frames()] == [1, 2, 10]
    assert [int(frame[0, 1, 0]) for frame in source.frames(1, 2)] == [2]
    assert ImageFrames(tmp_path, fps=50).timestamps.tolist() == [0, 0.02, 0.04]
    assert len(ImageFrames([tmp_path / "shot_10.png", tmp_path / "shot_2.png"])) == 2
    with pytest.raises(InputError, match=r"frames 0\.\.4 asked for"):
        source.frames(0, 4)


def test_frames__turned_images_have_the_displayed_size(tmp_path):
    (tmp_path / "1.png").write_bytes(png(PICTURE, (b"eXIf", exif(6))))
    source = ImageFrames(tmp_path / "1.png")
    assert source.size == (2, 3)
    assert next(source.frames()).shape == (3, 2, 3)


def test_frames__different_sizes_unreadable_file_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no image in it"):
        ImageFrames(tmp_path)
    (tmp_path / "1.png").write_bytes(png(PICTURE))
    (tmp_path / "2.png").write_bytes(png(PICTURE[:, :2]))
    with pytest.raises(InputError, match=r"2\.png: \(2, 2\) pixels, but 1\.png has \(3, 2\)"):
        ImageFrames(tmp_path)
    (tmp_path / "2.png").write_text("no")
    with pytest.raises(FormatError, match=r"2\.png: not an image"):
        ImageFrames(tmp_path)


SEEDS = [png(PICTURE, (b"eXIf", exif(6))), tiff(PICTURE, 3), b"\xff\xd8\xff\xe1\0\x22Exif\0\0" + exif(8),
         b"RIFF\0\0\0\0WEBPVP8X\n\0\0\0" + bytes(20), b"BM" + bytes(40)]  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(SEEDS), st.binary(max_size=20), st.floats(0, 1), st.integers(0, 40))
def test_read_image__damaged_bytes_are_a_typed_error_or_an_image(tmp_path_factory, seed, junk, share, cut):
    path = tmp_path_factory.getbasetemp() / "fuzz.img"
    place = int(share * len(seed))
    path.write_bytes(seed[:place] + junk + seed[place + cut :])
    with contextlib.suppress(MareyError):
        assert read_image(path, max_pixels=10**6).ndim == 3


@pytest.mark.realdata
def test_read_image__real_photographs(shared_data):
    folder = shared_data / "images"
    for path in [*folder.glob("*.jpg"), *folder.glob("*.png")]:
        plain = cv2.imread(str(path), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(read_image(path), plain[..., ::-1])


def test_read_image__a_png_that_claims_more_than_its_bytes_can_hold(tmp_path):
    small = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    claim = b"IHDR" + (10_000).to_bytes(4, "big") * 2 + small[24:29]
    (tmp_path / "a.png").write_bytes(small[:12] + claim + zlib.crc32(claim).to_bytes(4, "big") + small[33:])
    with pytest.raises(FormatError, match="bytes cannot hold 10000x10000"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("millimetres", "kind", "expected"), [(26, 3, 26.0), (28, 4, 28.0), (0, 3, None)])
def test_read_image_header__focal_length(tmp_path, millimetres, kind, expected):
    (tmp_path / "a.png").write_bytes(png(PICTURE, (b"eXIf", exif_with_focal(millimetres, kind))))
    header = read_image_header(tmp_path / "a.png")
    assert header.film_focal == expected
    assert header.orientation == 6


@pytest.mark.parametrize("length", [20, 38, 45])
def test_read_image_header__details_cut_off(tmp_path, length):
    (tmp_path / "a.png").write_bytes(png(PICTURE, (b"eXIf", exif_with_focal(26)[:length])))
    assert read_image_header(tmp_path / "a.png").film_focal is None


def test_read_image_header__no_focal_length(tmp_path):
    (tmp_path / "a.png").write_bytes(png(PICTURE, (b"eXIf", exif(6))))
    assert read_image_header(tmp_path / "a.png").film_focal is None


@pytest.mark.parametrize(("suffix", "orientation"), [("jpg", 1), ("jpg", 6), ("png", 1)])
@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_read_image_bgr__smaller_is_the_mean_of_squares(tmp_path, suffix, orientation, reduction):
    """45 x 37 pixels: the last square of a row and a column is cut off by the border."""
    y, x = np.mgrid[:37, :45]
    blue_green_red = np.stack((4 * x, 5 * y, 100 + x - y), axis=-1).astype(np.uint8)
    _, encoded = cv2.imencode(f".{suffix}", blue_green_red, [cv2.IMWRITE_JPEG_QUALITY, 100])
    content = encoded.tobytes()
    if orientation != 1:
        segment = b"Exif\0\0" + exif(orientation)
        content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    (tmp_path / f"a.{suffix}").write_bytes(content)
    found = read_image_bgr(tmp_path / f"a.{suffix}", reduction=reduction)
    whole = blue_green_red if orientation == 1 else blue_green_red[::-1].transpose(1, 0, 2)
    rows, columns = (-(-side // reduction) for side in whole.shape[:2])
    assert found.shape == (rows, columns, 3)
    inside = whole[: whole.shape[0] // reduction * reduction, : whole.shape[1] // reduction * reduction].astype(float)
    squares = inside.reshape(len(inside) // reduction, reduction, -1, reduction, 3).mean((1, 3))
    assert np.abs(found[: squares.shape[0], : squares.shape[1]] - squares).mean() < 2
