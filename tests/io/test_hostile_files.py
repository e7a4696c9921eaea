"""Files made to take the machine down: each reader refuses them at once, or takes time in proportion to their size."""

import importlib
import os
import pickle
import struct
import time
import zipfile

import numpy as np
import pytest

from marey.core import FormatError, InputError, MareyError
from marey.io.archives import opened_archive
from marey.io.biocv import read_biocv
from marey.io.caliscope_csv import read_caliscope_csv, read_caliscope_timestamps
from marey.io.camera_toml import read_camera_toml
from marey.io.coco import read_coco_annotations
from marey.io.mot import read_mot
from marey.io.npz import read_arrays
from marey.io.table import read_joint_table
from marey.io.trc import read_trc
from marey.io.unpickle import read_object_npz, restricted_load

READERS = (
    ("amass:read_amass_npz", "a.npz"),
    ("biocv:read_biocv", "a.calib"),
    ("blender_cameras:read_blender_cameras", "a.json"),
    ("bvh:read_bvh", "a.bvh"),
    ("c3d:read_c3d", "a.c3d"),
    ("caliscope_board:read_caliscope_board", "a.csv"),
    ("caliscope_csv:read_caliscope_csv", "a.csv"),
    ("caliscope_csv:read_caliscope_timestamps", "a.csv"),
    ("camera_files:read_cameras", "a.dat"),
    ("camera_toml:read_camera_toml", "a.toml"),
    ("coco:read_coco_annotations", "a.json"),
    ("coco:read_coco_results", "a.json"),
    ("easymocap:read_easymocap", "intri.yml"),
    ("gltf_reader:read_gltf", "a.gltf"),
    ("human_data:read_human_data", "a.npz"),
    ("mot:read_mot", "a.mot"),
    ("npz:read_estimate_npz", "a.npz"),
    ("opencap:read_opencap", "a.pickle"),
    ("panoptic:read_panoptic", "a.json"),
    ("qualisys:read_qualisys", "a.qca.txt"),
    ("table:read_joint_table", "a.csv"),
    ("trc:read_trc", "a.trc"),
    ("unpickle:restricted_load", "a.pkl"),
    ("videopose3d:read_videopose_2d", "a.npz"),
)


def reader(target):
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(f"marey.io.{module}"), name)


def written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path / name


@pytest.mark.parametrize(("target", "name"), READERS)
def test_read__two_gigabytes_of_nothing(tmp_path, target, name):
    with (tmp_path / name).open("wb") as file:
        file.truncate(2 << 30)  # sparse: it takes no room on the disk
    read, start = reader(target), time.perf_counter()
    with pytest.raises(FormatError):
        read(tmp_path / name)
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize(("target", "name"), READERS)
def test_read__a_device_without_end(tmp_path, target, name):
    (tmp_path / name).symlink_to("/dev/zero")
    read, start = reader(target), time.perf_counter()
    with pytest.raises(MareyError):
        read(tmp_path / name)
    assert time.perf_counter() - start < 1


def test_read__a_pipe_is_read_to_its_end():
    table = b"Coordinates\nendheader\ntime\ta\n0.5\t7\n"
    end, start = os.pipe()
    os.write(start, table)
    os.close(start)
    try:
        assert read_mot(f"/dev/fd/{end}").values.tolist() == [[7]]
    finally:
        os.close(end)


def seconds(read, path):
    """The least of three."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        with pytest.raises(FormatError):
            read(path)
        taken.append(time.perf_counter() - start)
    return min(taken)


@pytest.mark.parametrize(
    ("read", "name", "make"),
    [
        (read_mot, "a.mot", lambda size: "C\nendheader\ntime\ta\n1\t" + "1" * size + "x\n"),
        (read_biocv, "a.calib", lambda size: "640\n480\n" + "1" * size + "x 0 1\n" + "0 0 1\n" * 6),
        (read_camera_toml, "a.toml", lambda size: "a = {x = 1, " + "b." * (size // 2) + "c = 1}"),
        (read_camera_toml, "a.toml", lambda size: '"a" . "b,c" . ' * (size // 14) + "d = 1"),
        (
            read_coco_annotations,
            "a.json",
            lambda size: (
                '{"images": ['
                + ",".join(
                    f'{{"id": {place * (2**61 - 1)}, "file_name": "", "width": 1, "height": 1}}'
                    for place in range(size // 80)
                )
                + '], "annotations": [], "categories": []}'
            ),
        ),
    ],
    ids=[
        "digits that end otherwise",
        "a number with a letter",
        "a long key",
        "a long quoted key",
        "numbers of one hash",
    ],
)
def test_read__time_is_proportional_to_the_size(tmp_path, read, name, make):
    short = seconds(read, written(tmp_path, name, make(60_000)))
    long = seconds(read, written(tmp_path, name, make(240_000)))
    assert long < 8 * short + 0.1


def test_read_trc__gaps_without_end(tmp_path):
    count = 20_000
    fields = "PathFileType\t4\t(X/Y/Z)\ta\nDataRate\tNumFrames\tNumMarkers\tUnits"
    head = f"{fields}\n60\t2\t{count}\tm\nFrame#\tTime\t"
    with pytest.raises(FormatError, match="nearly all of them empty"):
        read_trc(written(tmp_path, "a.trc", head + "m\t\t\t" * count + "\n\n" + "1\t0.1\n" * count))


def test_read_caliscope__tables_of_which_nearly_all_is_missing(tmp_path):
    rows = "".join(f"{place * 10},{place % 1000},0.1,0,1,2\n" for place in range(5000))
    path = written(tmp_path, "a.csv", "sync_index,port,frame_time,point_id,img_loc_x,img_loc_y\n" + rows)
    for read in (read_caliscope_csv, read_caliscope_timestamps):
        with pytest.raises(FormatError, match=r"5000 rows of 1000 cameras, .* nearly all are missing"):
            read(path)


def test_read_joint_table__a_quote_that_does_not_end(tmp_path):
    columns = "frame,time,person,joint,x,y,z,sd_x,sd_y,sd_z,score,filled\n"
    with pytest.raises(FormatError, match="not a CSV file"):
        read_joint_table(written(tmp_path, "a.csv", columns + '0,0,0,"' + "nose\n" * 40_000))


@pytest.mark.parametrize("read", [read_arrays, read_object_npz])
def test_read_npz__a_bomb(tmp_path, read):
    np.savez_compressed(tmp_path / "a.npz", poses=np.zeros(300 << 17))
    assert (tmp_path / "a.npz").stat().st_size < 1 << 20
    with pytest.raises(FormatError, match=r"bytes unpack to 300 MiB, as data never do"):
        read(tmp_path / "a.npz")


def test_opened_archive__of_a_few_zeros_is_no_bomb(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", mask=np.zeros(1 << 20))
    with opened_archive(tmp_path / "a.npz", most_bytes=1 << 30) as archive:
        assert archive.namelist() == ["mask.npy"]
    with pytest.raises(FormatError, match="more than 0; refused"), opened_archive(tmp_path / "a.npz", most_bytes=1000):
        pass
    with pytest.raises(InputError, match="cannot read"), opened_archive(tmp_path, most_bytes=1):
        pass


@pytest.mark.parametrize(("element", "shape"), [("<f8", "(4000000000, 156)"), ("<U0", "(100000000,)")])
def test_read_arrays__promises_without_data(tmp_path, element, shape):
    head = f"{{'descr': '{element}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("poses.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(800))
    with pytest.raises(FormatError, match="more than it has"):
        read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (b"\x80\x04" + b"(" * 200_000 + b".", "nests more than 100 deep"),
        (b"\x80\x04(" + b"}" * 700_000 + b"l.", "far more memory"),
        (b"\x80\x04(" + b"]" * 700_000 + b"l.", "far more memory"),
        (b"\x00" * 1000, "opcode"),
    ],
)
def test_restricted_load__containers_without_content(tmp_path, stream, message):
    with pytest.raises(FormatError, match=message):
        restricted_load(stream)
    with pytest.raises(FormatError, match=message):
        restricted_load(written(tmp_path, "a.pkl", stream))


def test_restricted_load__small_lists_are_data():
    rows = [[0.5, 1.5, 2.5]] * 10 + [[float(place), 0.0, 1.0] for place in range(100_000)]
    assert restricted_load(pickle.dumps(rows)) == rows
