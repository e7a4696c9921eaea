import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, MareyError, ShapeError
from marey.io.c3d import read_c3d, write_c3d

INTEL, DEC, MIPS = 84, 85, 86


def word(processor, *values):
    return struct.pack((">" if processor == MIPS else "<") + f"{len(values)}H", *(value & 0xFFFF for value in values))


def real(processor, value):
    if processor == DEC:  # the exponent counts from two more, and the upper half comes first
        bits = struct.pack(">f", value * 4)
        return bytes([bits[1], bits[0], bits[3], bits[2]])
    return struct.pack(">f" if processor == MIPS else "<f", value)


def record(processor, number, name, rest, *, step=None):
    step = 2 + len(rest) if step is None else step
    return struct.pack("bb", len(name), number) + name.encode() + word(processor, step) + rest


def texts(*values, width=8):
    return struct.pack("bBBB", -1, 2, width, len(values)) + b"".join(v.encode().ljust(width) for v in values) + b"\0"


def parameters(processor, *, units="mm", extra=b"", rate=100.0):
    body = record(processor, -1, "POINT", b"\0")
    body += record(processor, 1, "USED", struct.pack("bB", 2, 0) + word(processor, 2) + b"\0")
    body += record(processor, 1, "RATE", struct.pack("bB", 4, 0) + real(processor, rate) + b"\0")
    body += record(processor, 1, "LABELS", texts("RHip", "LHip"))
    body += record(processor, 1, "UNITS", struct.pack("bBB", -1, 1, len(units)) + units.encode() + b"\0")
    body += record(processor, -2, "EVENT", b"\0")
    body += record(
        processor, 2, "Times", struct.pack("bBB", 4, 1, 2) + real(processor, 0) + real(processor, 1.5) + b"\0"
    )
    body += extra + b"\0\0"
    return (bytes([1, 0x50, 1, processor]) + body).ljust(512, b"\0")


def header(processor, *, scale, analogs=1, first=1, last=2, data=3):
    head = bytes([2, 0x50]) + word(processor, 2, analogs, first, last, 10)
    head += real(processor, scale) + word(processor, data, 1) + real(processor, 100.0)
    return head.ljust(512, b"\0")


def file(processor=INTEL, *, scale=-1.0, **change):
    """Two markers, two frames, one analog sample a frame; the second marker is missing in the second frame."""
    if scale < 0:
        cells = [1000, 2000, -500.5, 0, 1, 2, 3, 5, 77, 1001, 2001, -501.5, 0x0102, 0, 0, 0, -1, 78]
        data = b"".join(real(processor, value) for value in cells)
    else:
        cells = [2000, 4000, -1001, 0, 2, 4, 6, 5, 77, 2002, 4002, -1003, 0x0102, 0, 0, 0, -1, 78]
        data = word(processor, *cells)
    return header(processor, scale=scale) + parameters(processor, **change) + data


def written(tmp_path, content):
    (tmp_path / "walk.c3d").write_bytes(content)
    return tmp_path / "walk.c3d"


@pytest.mark.parametrize("processor", [INTEL, DEC, MIPS])
@pytest.mark.parametrize("scale", [-1.0, 0.5])
def test_read__every_processor_in_floats_and_whole_numbers(tmp_path, processor, scale):
    found = read_c3d(written(tmp_path, file(processor, scale=scale)))
    nan = np.nan
    expected = [[[1, 2, -0.5005], [0.001, 0.002, 0.003]], [[1.001, 2.001, -0.5015], [nan] * 3]]
    np.testing.assert_allclose(found.positions, expected, rtol=1e-12)
    np.testing.assert_allclose(found.residuals, np.array([[0, 5], [2, nan]]) * abs(scale) / 1000)
    assert found.names == ("RHip", "LHip")
    assert (found.rate, found.first_frame, found.unit, found.screen) == (100, 1, "mm", None)
    np.testing.assert_array_equal(found.parameters["EVENT"]["TIMES"], [0, 1.5])


@pytest.mark.parametrize(("units", "metres"), [("mm", 0.001), ("M", 1), ("cm", 0.01)])
def test_read__unit_of_the_file(tmp_path, units, metres):
    found = read_c3d(written(tmp_path, file(units=units)))
    assert found.positions[0, 0, 0] == pytest.approx(1000 * metres)


def test_read__unit_given(tmp_path):
    with pytest.raises(FormatError, match="POINT:UNITS is 'foot', expected one of m, cm, mm, in; pass unit="):
        read_c3d(written(tmp_path, file(units="foot")))
    assert read_c3d(written(tmp_path, file(units="foot")), unit=0.3048).positions[0, 0, 0] == pytest.approx(304.8)


def test_read__more_names_in_a_second_parameter_and_names_that_lack(tmp_path):
    content = file().replace(b"RHip", b"    ").replace(b"LHip", b"\xff\xfe\0\0")
    assert read_c3d(written(tmp_path, content)).names == ("point_1", "\ufffd\ufffd")
    with pytest.warns(UserWarning, match="names repeat and are numbered: LHip"):
        assert read_c3d(written(tmp_path, file().replace(b"RHip", b"LHip"))).names == ("LHip", "LHip_2")


def test_read__axes_of_the_screen(tmp_path):
    extra = record(INTEL, 1, "X_SCREEN", b"\xff\x01\x02+X\0") + record(INTEL, 1, "Y_SCREEN", b"\xff\x01\x02+Z\0")
    assert read_c3d(written(tmp_path, file(extra=extra))).screen == ("+X", "+Z")


def test_read__more_frames_than_the_header_can_count(tmp_path):
    low, high = 70_000 & 0xFFFF, 70_000 >> 16
    extra = record(INTEL, -3, "TRIAL", b"\0")
    extra += record(INTEL, 3, "ACTUAL_START_FIELD", b"\x02\x01\x02" + word(INTEL, 1, 0) + b"\0")
    extra += record(INTEL, 3, "ACTUAL_END_FIELD", b"\x02\x01\x02" + word(INTEL, low, high) + b"\0")
    content = header(INTEL, scale=-1.0, analogs=0, last=65535) + parameters(INTEL, extra=extra)
    path = written(tmp_path, content + struct.pack("<8f", *range(8)) * 70_000)
    assert read_c3d(path).positions.shape == (70_000, 2, 3)


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (1, b"\x51", "not a C3D file"),
        (0, b"\x00", "not a C3D file"),
        (0, b"\x90", "ends before its parameters"),
        (515, b"\x00", "processor type 0, expected 84"),
        (16, b"\x00\x00", "its frames begin at block 0"),
        (16, b"\x01\x00", "its frames begin at block 1"),
        (523, b"\x00\x80", "points backwards"),
        (534, b"\x07", "is of type 7"),
        (535, b"\xff", "with 255 dimensions"),
    ],
)
def test_read__malformed(tmp_path, place, new, message):
    content = file()
    with pytest.raises(FormatError, match=message):
        read_c3d(written(tmp_path, content[:place] + new + content[place + len(new) :]))


def test_read__no_markers_but_analog_channels(tmp_path):
    content = file()
    found = read_c3d(written(tmp_path, content[:2] + word(INTEL, 0, 9) + content[6:]))
    assert found.positions.shape == (2, 0, 3)
    assert found.names == ()


def test_read__rate_that_is_none(tmp_path):
    for rate in (0.0, -1.0, float("nan")):
        with pytest.raises(FormatError, match="POINT:RATE is"):
            read_c3d(written(tmp_path, file(rate=rate)))


def test_read__no_such_file_and_unknown_unit(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_c3d(tmp_path / "absent.c3d")
    with pytest.raises(InputError, match="unit: expected one of"):
        read_c3d(written(tmp_path, file()), unit="foot")


def test_read__cut_anywhere(tmp_path):
    content = file()
    end = len(content) - 72  # of the parameters
    records = content.index(b"Times") + 5 + 2 + 3 + 8 + 1 + 2  # name, pointer, dimensions, numbers, description, end
    for place in (*range(0, 700, 3), *range(end, len(content))):
        path = written(tmp_path, content[:place])
        if place < records:
            with pytest.raises(FormatError):
                read_c3d(path)
        elif place >= end:  # between the two the section is filled up
            with pytest.warns(UserWarning, match=f"{(place - end) // 36} frames, but it promises 2; cut off"):
                assert len(read_c3d(path).positions) == (place - end) // 36


@settings(deadline=None, max_examples=200)
@given(st.binary(min_size=1, max_size=12), st.integers(0, 5000), st.integers(0, 12))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("c3d") / "a.c3d"
    content = file()
    place %= len(content)
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        found = read_c3d(path)
    except MareyError:
        return
    assert found.positions.shape == (*found.residuals.shape, 3)
    assert len(found.names) == found.positions.shape[1]


def markers(frames=7, count=3, seed=0):
    positions = np.random.default_rng(seed).normal(size=(frames, count, 3)).astype(np.float32).astype(np.float64)
    positions[1, 0] = np.nan
    return positions


@pytest.mark.parametrize(("unit", "per_metre"), [("mm", 1000), ("m", 1)])
@pytest.mark.parametrize(("frames", "count"), [(7, 3), (3, 600), (66_000, 1)])
def test_write__another_program_reads_the_same(tmp_path, unit, per_metre, frames, count):
    ezc3d = pytest.importorskip("ezc3d")
    positions = markers(frames, count)
    names = [f"marker_{place}" for place in range(count)]
    write_c3d(tmp_path / "out.c3d", positions, names, fps=59.94, unit=unit, first_frame=5)
    found = ezc3d.c3d(str(tmp_path / "out.c3d"))
    np.testing.assert_allclose(
        found["data"]["points"][:3].transpose(2, 1, 0) / per_metre, positions, rtol=1e-6, atol=1e-9
    )
    point = found["parameters"]["POINT"]
    read = [name for key in ("LABELS", "LABELS2", "LABELS3") for name in point.get(key, {"value": []})["value"]]
    assert read == names
    assert point["RATE"]["value"][0] == pytest.approx(59.94)
    assert point["UNITS"]["value"] == [unit]
    assert (point["X_SCREEN"]["value"], point["Y_SCREEN"]["value"]) == (["+X"], ["+Y"])
    residuals = found["data"]["meta_points"]["residuals"][0].T
    np.testing.assert_array_equal(residuals, np.where(np.isnan(positions[..., 0]), -1, 0))
    if frames < 65_535:
        assert found["header"]["points"]["first_frame"] == 4  # counted from 0 there


def test_write__bytes_of_the_header_and_the_frames(tmp_path):
    write_c3d(tmp_path / "out.c3d", [[[0.001, 0.002, 0.003]], [[np.nan] * 3]], ["hip"], fps=50, up="z")
    content = (tmp_path / "out.c3d").read_bytes()
    assert len(content) % 512 == 0
    assert content[:24] == bytes([2, 0x50]) + struct.pack("<HHHHHfHHf", 1, 0, 1, 2, 0, -1, 3, 0, 50)
    assert content[512:516] == bytes([1, 0x50, 1, 84])
    assert content[1024 : 1024 + 32] == struct.pack("<8f", 1, 2, 3, 0, 0, 0, 0, -1)
    assert b"\x08\x01Y_SCREEN\x08\x00\xff\x01\x02+Z\x00" in content


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"positions": np.zeros((2, 2, 3))}, ShapeError, r"expected \(T, 3, 3\)"),
        ({"fps": 0}, InputError, "frame rate above 0"),
        ({"unit": "foot"}, InputError, "expected mm or m"),
        ({"up": "x"}, InputError, "y or z"),
        ({"first_frame": 0}, InputError, "expected 1 to 65535"),
        ({"names": ["a", "", "c"]}, InputError, "'' is empty or longer"),
        ({"names": ["a", "b" * 121, "c"]}, InputError, "longer than 120 bytes"),
        ({"positions": np.zeros((1, 2000, 3)), "names": ["m" * 100] * 2000}, InputError, "more than the parameters"),
    ],
)
def test_write__bad_argument_leaves_no_file(tmp_path, change, error, message):
    arguments = {"positions": markers(), "names": ["a", "b", "c"], "fps": 50} | change
    with pytest.raises(error, match=message):
        write_c3d(tmp_path / "out.c3d", arguments.pop("positions"), arguments.pop("names"), **arguments)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(0, 6), st.integers(1, 5), st.floats(0.5, 1000, width=32))
def test_round_trip__random_markers(tmp_path_factory, seed, frames, count, fps):
    path = tmp_path_factory.mktemp("c3d") / "a.c3d"
    positions = markers(max(frames, 2), count, seed)[:frames]
    write_c3d(path, positions, [f"m{place}" for place in range(count)], fps=fps)
    found = read_c3d(path)
    np.testing.assert_allclose(found.positions, positions, rtol=1e-6, atol=1e-9)
    assert found.rate == fps


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "shape", "rate"), [("walkingOptiTrack", (3361, 12, 3), 160), ("markers_analogs", (580, 51, 3), 100)]
)
def test_read__real_files_as_another_program(shared_data, name, shape, rate):
    ezc3d = pytest.importorskip("ezc3d")
    path = shared_data / "markers" / f"{name}.c3d"
    found = read_c3d(path)
    other = ezc3d.c3d(str(path))
    assert found.positions.shape == shape
    assert found.rate == rate
    assert found.names == tuple(other["parameters"]["POINT"]["LABELS"]["value"])
    assert found.screen == ("+X", "+Z")
    np.testing.assert_allclose(found.positions, other["data"]["points"][:3].transpose(2, 1, 0) / 1000, atol=1e-9)


@pytest.mark.realdata
def test_read__the_same_trial_as_c3d_and_trc(shared_data):
    from marey.io.trc import read_trc

    markers_c3d = read_c3d(shared_data / "markers" / "markers_analogs.c3d")
    with pytest.warns(UserWarning, match="its header promises"):
        markers_trc = read_trc(shared_data / "markers" / "markers.trc")
    assert {name.split(":")[-1] for name in markers_c3d.names} & set(markers_trc.names)
