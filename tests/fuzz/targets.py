"""Every reader of the house, with good files written by hand or by NumPy alone."""

from __future__ import annotations

import io
import json
import pickle
import runpy
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.mutations import mutate, mutate_archive
from fuzz.runner import Target
from marey.core import FormatError
from marey.data.labels import read_labels, rows_to_score, with_keypoints
from marey.data.prepare.cmu_frames import read_frame_lists
from marey.data.render_sources import read_render_poses
from marey.io.amass import read_amass_npz
from marey.io.asf_amc import read_asf_amc
from marey.io.biocv import read_biocv
from marey.io.blender_cameras import read_blender_cameras
from marey.io.bvh import read_bvh
from marey.io.c3d import read_c3d
from marey.io.caliscope_board import read_caliscope_board
from marey.io.caliscope_csv import read_caliscope_csv
from marey.io.caliscope_times import read_caliscope_moments
from marey.io.camera_files import read_cameras
from marey.io.camera_toml import read_camera_toml
from marey.io.coco import read_coco_annotations, read_coco_results
from marey.io.coco_masks import mask_of_outline
from marey.io.colmap import read_colmap
from marey.io.easymocap import read_easymocap
from marey.io.gltf_reader import read_gltf
from marey.io.h36m_labels import read_h36m_labels
from marey.io.human_data import read_human_data
from marey.io.humanoid_clips import read_humanoid_clip
from marey.io.images import ImageFrames
from marey.io.matlab5 import read_matlab5
from marey.io.mot import read_mot
from marey.io.npz import read_estimate_npz
from marey.io.opencap import read_opencap
from marey.io.openpose import read_openpose_folder
from marey.io.panoptic import read_panoptic
from marey.io.person_boxes import read_person_boxes
from marey.io.predictions import pose_rows, read_pose_rows
from marey.io.predictions_published import (
    read_coco_labels,
    read_metrabs_predictions,
    read_pw3d_predictions,
    read_triangulation_results,
)
from marey.io.qualisys import read_qualisys
from marey.io.settings_toml import read_toml
from marey.io.snappy import decompress_snappy
from marey.io.synchronisation_file import read_synchronisation
from marey.io.table import read_joint_table
from marey.io.tensorflow_bundle import read_tensor_bundle
from marey.io.torch_checkpoints import read_state_dict
from marey.io.trc import read_trc
from marey.io.unpickle import read_object_npz, restricted_load
from marey.io.video import VideoFrames
from marey.io.videopose3d import read_videopose_2d, read_videopose_3d
from marey.pipeline.conversion import KINDS

SEEDS = Path(__file__).parent / "seeds"


def _seed(name: str) -> bytes:
    return (SEEDS / name).read_bytes()


def _archive(**arrays: Any) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def _objects(**members: Any) -> bytes:
    return _archive(**{name: np.array(value, dtype=object) for name, value in members.items()})


def _estimate() -> bytes:
    positions = np.zeros((2, 1, 2, 3), np.float32)
    return _archive(
        format=np.array(1),
        joints=positions,
        covariance=np.zeros((2, 1, 2, 3, 3), np.float32),
        score=np.ones((2, 1, 2), np.float32),
        filled=np.zeros((2, 1, 2), bool),
        frames=np.arange(2),
        fps=np.array(60.0),
        provenance=np.array('{"views": ["a"]}'),
        notes=np.array(["a note"]),
        skeleton=np.array("two"),
        skeleton_note=np.array(""),
        joint_names=np.array(["nose", "neck"]),
        links=np.array([[1, 0]]),
        residuals=np.zeros((1, 2, 1, 2), np.float32),
        weights=np.ones((1, 2, 1, 2), np.float32),
        camera_intrinsics=np.eye(3)[None],
        camera_distortion=np.zeros((1, 5)),
        camera_image_size=np.array([[640.0, 480.0]]),
        camera_rotation=np.eye(3)[None],
        camera_translation=np.zeros((1, 3)),
        camera_names=np.array(["a"]),
    )


def _amass() -> bytes:
    return _archive(
        poses=np.zeros((2, 156)),
        trans=np.zeros((2, 3)),
        betas=np.zeros(16),
        dmpls=np.zeros((2, 8)),
        gender=np.array("male"),
        mocap_framerate=np.array(60.0),
    )


def _pose_rows() -> bytes:
    return _archive(
        format=np.array(1),
        benchmark=np.array("box v1"),
        joint_names=np.array(["pelvis", "neck"]),
        sequence=np.array(["walk", "run"]),
        frame=np.array([0, 7]),
        person=np.array([0, 0]),
        joints=np.zeros((2, 2, 3)),
        action=np.array(["a", "b"]),
    )


def _labels() -> bytes:
    """Two images of one moment, a person in both."""
    return _archive(
        **{
            "format": np.array(1),
            "name": np.array("mine"),
            "version": np.array("1"),
            "skeleton": np.array("stick"),
            "skeleton_note": np.array(""),
            "joint_names.texts": np.frombuffer(b"pelvis\0neck\0", np.uint8),
            "joint_names.codes": np.array([0, 1], np.int32),
            "links": np.array([[0, 1]]),
            **{f"images_{key}.texts": np.frombuffer(text, np.uint8) for key, text in _LABEL_TEXTS.items()},
            "images_path.codes": np.array([0, 1], np.int32),
            "images_sequence.codes": np.array([0, 0], np.int32),
            "images_split.codes": np.array([0, 1], np.int32),
            "images_size": np.full((2, 2), 64),
            "images_camera": np.array([0, 1]),
            "images_frame": np.array([3, 3]),
            "images_moment": np.array([0, 0]),
            "row_image": np.array([0, 1]),
            "row_person": np.array([0, 0]),
            "value_joints": np.zeros((2, 2, 3)),
            "camera_intrinsics": np.stack([np.eye(3)] * 2),
            "camera_distortion": np.zeros((2, 5)),
            "camera_image_size": np.full((2, 2), 64.0),
            "camera_rotation": np.stack([np.eye(3)] * 2),
            "camera_translation": np.zeros((2, 3)),
            "camera_names.texts": np.frombuffer(b"l\0r\0", np.uint8),
            "camera_names.codes": np.array([0, 1], np.int32),
        }
    )


_LABEL_TEXTS = {"path": b"a.jpg\0b.jpg\0", "sequence": b"walk\0", "split": b"train\0test\0"}


def _read_label_table(path: Path) -> object:
    labels = read_labels(path)
    return labels.by_moment(), rows_to_score(labels), with_keypoints(labels)


def _read_outline(path: Path) -> object:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        return mask_of_outline(json.loads(text), height=20, width=30)
    except (ValueError, RecursionError) as error:
        if isinstance(error, FormatError):
            raise
        raise FormatError("not JSON") from error


def _metrabs() -> bytes:
    return _archive(
        image_path=np.array(["h36m/S9/Images/Eating.5/frame_000064.jpg", "h36m/S11/a/1.jpg"]),
        coords3d_true_world=np.zeros((2, 17, 3)),
        coords3d_pred_world=np.ones((2, 17, 3)),
        activity_name=np.array(["Eating", "Photo"]),
        joint_validity_mask=np.ones((2, 17), bool),
    )


def _read_metrabs(path: Path) -> object:
    return read_metrabs_predictions(path, "h36m")


def _triangulation_with_views() -> dict[str, object]:
    poses = {"keypoints_3d": np.zeros((1, 16, 3), np.float32), "indexes": np.array([1])}
    return {**poses, "keypoints_2d": np.zeros((1, 2, 16, 2)), "confidences": np.ones((1, 2, 16)).tolist()}


def _read_triangulation(path: Path) -> object:
    return read_triangulation_results(path, pose_rows(sequence=["a", "a"], frame=[0, 1]))


def _human_data() -> bytes:
    mask = np.zeros(190, np.uint8)
    mask[[1, 55]] = 1
    return _archive(
        image_path=np.array(["a.png", "b.png"]),
        bbox_xywh=np.ones((2, 5)),
        keypoints2d=np.ones((2, 2, 3)),
        keypoints2d_mask=mask,
        keypoints3d_original=np.ones((2, 190, 4)),
        keypoints3d_original_mask=mask,
        smpl=np.array({"betas": np.zeros((2, 10))}, dtype=object),
    )


def _videopose_2d() -> bytes:
    metadata = {"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": [[1], [2]]}
    return _objects(positions_2d={"S1": {"a": [np.ones((3, 17, 2)), np.ones((2, 17, 2))]}}, metadata=metadata)


def _videopose_videos() -> bytes:
    metadata = {"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": [[1], [2]]}
    metadata["video_metadata"] = {"a": {"w": 640, "h": 480}, "b": {"w": 640, "h": 480}}
    videos = {name: {"custom": [np.ones((3, 17, 2), np.float32)]} for name in "ab"}
    return _objects(positions_2d=videos, metadata=metadata)


def _pickle(protocol: int) -> bytes:
    value = {"K": np.eye(3), "size": (640, 480), "name": "cam", "list": [1, 2.5, None, True], "nested": {"a": {"b": 1}}}
    return pickle.dumps(value, protocol=protocol)


def _png() -> bytes:
    import cv2

    return bytes(cv2.imencode(".png", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))[1])


def _jpg() -> bytes:
    import cv2

    return bytes(cv2.imencode(".jpg", np.arange(192, dtype=np.uint8).reshape(8, 8, 3))[1])


def _read_images(path: Path) -> object:
    return [image.shape for image in ImageFrames(path).frames()]


def _opencap(protocol: int) -> bytes:
    camera = {
        "intrinsicMat": np.array([[1000.0, 0, 360], [0, 1010.0, 640], [0, 0, 1]]),
        "distortion": np.array([[0.1, -0.2, 0.001, 0.002, 0.05]]),
        "imageSize": np.array([[1280.0], [720.0]]),
        "rotation": np.eye(3),
        "translation": np.array([[500.0], [100.0], [3000.0]]),
    }
    return pickle.dumps(camera, protocol=protocol)


def _mp4() -> bytes:
    import av

    packed = io.BytesIO()
    with av.open(packed, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for shade in range(4):
            picture = np.full((16, 32, 3), 60 * shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return packed.getvalue()


def _read_video(path: Path) -> object:
    return [image.shape for image in VideoFrames(path).frames()]


WRAPPED = (
    "marey.io.images:ImageFrames",
    "marey.io.video:VideoFrames",
    "marey.io.caliscope_times:read_caliscope_moments",
    "marey.io.asf_amc:read_asf_amc",
)
"""Readers that are given their files through a function here: two are classes, two want several files."""


def _miniatures(test: str) -> dict[str, Any]:
    """What a test of the room `io` defines: among it files put together by hand."""
    return runpy.run_path(str(Path(__file__).parents[1] / "io" / test))


def _h36m_labels() -> bytes:
    """One moment of one trial seen by one camera: records of numbers within a pickled dictionary."""
    camera = np.dtype([("R", "f4", (3, 3)), ("t", "f4", (3, 1)), ("K", "f4", (3, 3)), ("dist", "f4", (5,))])
    numbers = [("subject_idx", "i1"), ("action_idx", "i1"), ("frame_idx", "i2")]
    row = np.dtype([*numbers, ("keypoints", "f4", (17, 3)), ("bbox_by_camera_tlbr", "i2", (1, 4))])
    content = {
        "subject_names": ["S1"],
        "camera_names": ["54138969"],
        "action_names": ["Eating-1"],
        "cameras": np.zeros((1, 1), camera),
        "table": np.zeros(1, row),
    }
    return _object_array(content)


def _object_array(content: object) -> bytes:
    packed = io.BytesIO()
    np.save(packed, np.array(content, dtype=object), allow_pickle=True)
    return packed.getvalue()


def _torch_checkpoint() -> bytes:
    import torch

    packed = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": {"module.weight": torch.ones(2, 3), "module.steps": torch.tensor(4)}}, packed)
    return packed.getvalue()


def _read_render_poses(path: Path) -> object:
    found = read_render_poses(path)
    return found.poses.sum(), found.names[:1]


_C3D = _miniatures("test_c3d.py")
_GLTF = _miniatures("test_gltf.py")
_ASF = _miniatures("test_asf_amc.py")
_CLIP = _miniatures("test_humanoid_clips.py")


def _read_moments(path: Path) -> object:
    return read_caliscope_moments(path, [Path("cam_0.mp4"), Path("cam_1.mp4")])


def _read_asf_amc(folder: Path) -> object:
    return read_asf_amc(folder / "somebody.asf", folder / "walk.amc", unit="m")


def _files(name: str) -> dict[str, bytes]:
    return {name: _seed(name)}


def _matlab5() -> bytes:
    """A cell of numbers and text, and a struct, by the format's documentation."""

    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    def matrix(kind: int, shape: tuple[int, int], name: bytes, content: bytes) -> bytes:
        flags, sizes = element(6, struct.pack("<II", kind, 0)), element(5, struct.pack("<ii", *shape))
        return element(14, flags + sizes + element(1, name) + content)

    numbers = matrix(6, (2, 3), b"", element(9, np.arange(6.0).tobytes()))
    text = matrix(4, (1, 4), b"", element(16, b"text"))
    fields = element(5, struct.pack("<i", 2)) + element(1, b"a\0b\0")
    cell, record = matrix(1, (1, 2), b"cell", numbers + text), matrix(2, (1, 1), b"record", fields + numbers + text)
    packed = zlib.compress(record)  # the one element without padding
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + cell + struct.pack("<II", 15, len(packed)) + packed


_BUNDLE = _miniatures("test_tensorflow_bundle.py")
_BUNDLE_INDEX: bytes = _BUNDLE["FILES"]["m.index"]


def _read_bundle(path: Path) -> object:
    bundle = read_tensor_bundle(path)
    return bundle.tensors(), bundle.variable_names


def _damaged_bundle(data: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Half of the damages of the index lie below its checksums, which would hide them."""
    if data != _BUNDLE_INDEX or random.random() < 0.5:
        return mutate(data, others, random)
    pairs = list(_BUNDLE["PAIRS"])
    place = random.randrange(len(pairs) + 1)
    if place == len(pairs):
        content: bytes = _BUNDLE["table"](mutate(_BUNDLE["block"](pairs), others, random))
        return content
    pairs[place] = (pairs[place][0], mutate(pairs[place][1], others, random))
    return bytes(_BUNDLE["table"](_BUNDLE["block"](pairs)))


READERS = (
    Target(
        name="camera TOML",
        read=read_camera_toml,
        files=_files("anipose.toml"),
        variants=(_seed("caliscope.toml"),),
    ),
    Target(name="Qualisys", read=read_qualisys, files=_files("rig.qca.txt")),
    Target(
        name="EasyMocap",
        read=read_easymocap,
        files={"e/intri.yml": _seed("intri.yml"), "e/extri.yml": _seed("extri.yml")},
        argument="e",
    ),
    Target(name="Panoptic", read=read_panoptic, files=_files("calibration_160422.json")),
    Target(
        name="COLMAP",
        read=read_colmap,
        files={"c/cameras.txt": _seed("cameras.txt"), "c/images.txt": _seed("images.txt")},
        argument="c",
    ),
    Target(name="bioCV", read=read_biocv, files=_files("00.calib")),
    Target(name="OpenCap", read=read_opencap, files={"c.pickle": _opencap(2)}, variants=(_opencap(4),)),
    Target(name="Blender cameras", read=read_blender_cameras, files=_files("blender.json")),
    Target(
        name="any cameras",
        read=read_cameras,
        files={"cameras.dat": _seed("calibration_160422.json")},
        variants=(_seed("rig.qca.txt"), _seed("blender.json"), _seed("anipose.toml"), _seed("00.calib"), _opencap(4)),
    ),
    Target(name="BVH", read=read_bvh, files=_files("walk.bvh")),
    Target(
        name="glTF",
        read=read_gltf,
        files={"walk.gltf": json.dumps(_GLTF["document"]()).encode()},
        variants=(_GLTF["packed"](_GLTF["document"]()),),
    ),
    Target(
        name="C3D",
        read=read_c3d,
        files={"walk.c3d": _C3D["file"](_C3D["INTEL"])},
        variants=(_C3D["file"](_C3D["MIPS"], scale=0.5), _C3D["file"](_C3D["DEC"])),
    ),
    Target(
        name="ASF and AMC",
        read=_read_asf_amc,
        files={"a/somebody.asf": _ASF["SKELETON"].encode(), "a/walk.amc": _ASF["MOTION"].encode()},
        argument="a",
    ),
    Target(
        name="humanoid clip",
        read=read_humanoid_clip,
        files={"hop.txt": json.dumps({"Loop": "none", "Frames": [_CLIP["row"](), _CLIP["row"]()]}).encode()},
    ),
    Target(name="MOT", read=read_mot, files={"walk.mot": _miniatures("test_mot.py")["FILE"].encode()}),
    Target(name="Caliscope times", read=_read_moments, files=_files("timestamps.csv")),
    Target(name="Caliscope board", read=read_caliscope_board, files=_files("xy_board.csv")),
    Target(name="synchronisation", read=read_synchronisation, files=_files("synchronisation.json")),
    Target(name="TRC", read=read_trc, files=_files("markers.trc")),
    Target(name="joint table", read=read_joint_table, files=_files("joints.csv")),
    Target(name="Caliscope points", read=read_caliscope_csv, files=_files("xy_points.csv")),
    Target(
        name="OpenPose JSON",
        read=read_openpose_folder,
        files={
            "v/v_000000000000_keypoints.json": _seed("openpose.json"),
            "v/v_000000000001_keypoints.json": _seed("openpose.json"),
        },
        argument="v",
    ),
    Target(name="COCO annotations", read=read_coco_annotations, files=_files("coco_annotations.json")),
    Target(name="COCO results", read=read_coco_results, files=_files("coco_results.json")),
    Target(name="estimate", read=read_estimate_npz, files={"e.npz": _estimate()}, damage=mutate_archive),
    Target(name="labels", read=_read_label_table, files={"l.npz": _labels()}, damage=mutate_archive),
    Target(
        name="COCO outlines",
        read=_read_outline,
        files={"o.json": b'{"counts": "124OM^b0", "size": [20, 30]}'},
        variants=(b'{"counts": [1, 2, 597], "size": [20, 30]}', b"[[1.5, 2, 9, 2, 9.25, 12, 1, 11]]"),
    ),
    Target(name="pose rows", read=read_pose_rows, files={"r.npz": _pose_rows()}, damage=mutate_archive),
    Target(name="MeTRAbs predictions", read=_read_metrabs, files={"m.npz": _metrabs()}, damage=mutate_archive),
    Target(
        name="Learnable Triangulation results",
        read=_read_triangulation,
        files={"r.pkl": pickle.dumps({"keypoints_3d": np.zeros((2, 17, 3), np.float32), "indexes": np.array([1, 0])})},
        variants=(pickle.dumps(_triangulation_with_views()),),
    ),
    Target(
        name="3DPW predictions",
        read=read_pw3d_predictions,
        files={"s.pkl": pickle.dumps({"jointPositions": np.zeros((1, 2, 24, 3))})},
        variants=(pickle.dumps({"jointPositions": np.zeros((1, 1, 24, 3)).tolist()}, protocol=0),),
    ),
    Target(name="COCO labels", read=read_coco_labels, files=_files("coco_annotations.json")),
    Target(name="AMASS", read=read_amass_npz, files={"a.npz": _amass()}, damage=mutate_archive),
    Target(name="HumanData", read=read_human_data, files={"h.npz": _human_data()}, damage=mutate_archive),
    Target(
        name="VideoPose3D 2D",
        read=read_videopose_2d,
        files={"a.npz": _videopose_2d()},
        variants=(_videopose_videos(),),
        damage=mutate_archive,
    ),
    Target(
        name="VideoPose3D 3D",
        read=read_videopose_3d,
        files={"a.npz": _objects(positions_3d={"S1": {"a": np.ones((3, 32, 3), np.float32)}})},
        damage=mutate_archive,
    ),
    Target(
        name="object npz", read=read_object_npz, files={"a.npz": _objects(a={"b": [1, "c"]})}, damage=mutate_archive
    ),
    Target(
        name="pickle",
        read=restricted_load,
        files={"a.pkl": _pickle(2)},
        variants=(_pickle(0), _pickle(4), _pickle(5)),
    ),
    Target(name="MATLAB 5", read=read_matlab5, files={"a.mat": _matlab5()}),
    Target(
        name="person boxes",
        read=read_person_boxes,
        files={"b.json": b'{"a/b.jpg": [[1.0, 2, 3.5, 4e0, 0.5], [5, 6, 7, 8, 1]], "c.jpg": []}'},
    ),
    Target(name="Human3.6M labels", read=read_h36m_labels, files={"h.npy": _h36m_labels()}),
    Target(
        name="CMU Panoptic frames",
        read=read_frame_lists,
        files={
            "f.yaml": b"train:\n  - 171204_pose1:\n    - [300, 4100]\n    - [4800, 8900]\nval:\n  - b:\n    - [0, 9]\n"
        },
    ),
    Target(
        name="render poses",
        read=_read_render_poses,
        files={"m.npz": _archive(poses=np.ones((2, 72)), fnames=np.array(["h36m_1", "3dpw_2"]))},
    ),
    Target(name="torch checkpoint", read=read_state_dict, files={"w.pth": _torch_checkpoint()}),
    Target(name="TensorFlow checkpoint", read=_read_bundle, files=_BUNDLE["FILES"], damage=_damaged_bundle),
    Target(
        name="Snappy",
        read=lambda path: decompress_snappy(path.read_bytes()),
        files={"s": b"\x0c\x0cabcd\x01\x04\x0e\x04\x00"},
        variants=(b"\x0a\x04ab\x11\x02", b"\x7b\xf0\x3c" + b"y" * 61 + b"\xf7\x3d\x00\x00\x00"),
    ),
    Target(
        name="settings TOML",
        read=read_toml,
        files={"r.toml": b'batch = 8\n[training]\nsteps = 10\nschedule = { kind = "cosine", last = 0.1 }\n'},
    ),
    Target(name="images", read=_read_images, files={"i/0.png": _png(), "i/1.jpg": _jpg()}, argument="i"),
    Target(name="video", read=_read_video, files={"v.mp4": _mp4()}),
)

_CONVERTED = {
    "npz": "estimate",
    "csv": "joint table",
    "trc": "TRC",
    "c3d": "C3D",
    "videopose3d": "VideoPose3D 3D",
    "humandata": "HumanData",
    "bvh": "BVH",
    "gltf": "glTF",
    "amass": "AMASS",
    "openpose": "OpenPose JSON",
    "caliscope-points": "Caliscope points",
    "coco": "COCO results",
    "coco-annotations": "COCO annotations",
    "videopose2d": "VideoPose3D 2D",
}
"""Formats of `marey convert` -> the target whose files they are."""


def _conversion(kind: str, name: str) -> Target:
    """What `marey convert` makes of a format: the same files, read and understood."""
    module, _, function = KINDS[kind].formats[name].reader.partition(":")
    files = next(target for target in READERS if target.name == _CONVERTED[name])
    return replace(files, name=f"convert {name} ({kind})", read=getattr(import_module(module), function))


TARGETS = (
    *READERS,
    *(
        _conversion(kind, name)
        for kind, table in KINDS.items()
        for name, entry in table.formats.items()
        if entry.reader and kind != "cameras"  # whose readers are those above
    ),
)
