"""`marey info`: the skeletons, file formats and methods that Marey knows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tyro.conf import Positional

from marey.io.camera_files import CAMERA_FORMATS


@dataclass(frozen=True, kw_only=True)
class Options:
    """List the skeletons, file formats or methods that Marey knows."""

    topic: Positional[Literal["skeletons", "formats", "methods"]]
    """What to list."""


class Format(NamedTuple):
    """A kind of file, what reads and what writes it (`module:name`, or empty)."""

    name: str
    files: str
    reader: str
    writer: str


FORMATS = (
    Format("video", ".mp4 .avi .mov .mkv .webm ...", "marey.io.video:VideoFrames", "marey.io.video:write_video"),
    Format("images", "folder of .png .jpg .bmp .tif .webp", "marey.io.images:ImageFrames", ""),
    Format(
        "OpenPose JSON",
        "folder of .json, one a frame (BODY_25, BODY_25B, COCO, HALPE_26, MediaPipe)",
        "marey.io.openpose:read_openpose_folder",
        "marey.io.openpose_writer:write_openpose_folder",
    ),
    Format("Caliscope points", "xy_*.csv", "marey.io.caliscope_csv:read_caliscope_csv", ""),
    *(Format(f"{name} (cameras)", entry.files, entry.reader, entry.writer) for name, entry in CAMERA_FORMATS.items()),
    Format("TRC", ".trc, marker trajectories of OpenSim", "marey.io.trc:read_trc", "marey.io.trc:write_trc"),
    Format(
        "joint table",
        ".csv, one row a frame, person and joint",
        "marey.io.table:read_joint_table",
        "marey.io.table:write_joint_table",
    ),
    Format(
        "estimate",
        ".npz without pickle, the whole result",
        "marey.io.npz:read_estimate_npz",
        "marey.io.npz:write_estimate_npz",
    ),
)


def run(options: Options) -> None:
    """Print the list."""
    print({"skeletons": _skeletons, "formats": _formats, "methods": _methods}[options.topic]())


def _skeletons() -> str:
    from marey.core.skeletons import skeleton, skeleton_names

    rows = []
    for name in skeleton_names():
        bones = skeleton(name)
        joints = textwrap.fill(", ".join(bones.joints), width=100, initial_indent="  ", subsequent_indent="  ")
        rows.append(f"{name}: {len(bones)} joints. {bones.note}\n{joints}")
    return "\n\n".join(rows)


def _formats() -> str:
    rows = [
        (
            format_.name,
            " and ".join(filter(None, (format_.reader and "read", format_.writer and "write"))),
            format_.files,
        )
        for format_ in FORMATS
    ]
    return _columns(("format", "", "files"), rows)


def _methods() -> str:
    from marey.pipeline.config import EstimateConfig
    from marey.pipeline.methods import METHODS, build_estimator

    rows = []
    for name in METHODS:
        estimator = build_estimator(name, EstimateConfig())
        least, most = estimator.requires.views
        views = f"{least} or more" if most is None else f"{least} to {most}" if most > least else f"{least}"
        summary = (type(estimator).__doc__ or "").partition("\n")[0]
        rows.append((name, views, estimator.requires.evidence, estimator.requires.calibration, summary))
    return _columns(("method", "views", "evidence", "calibration", ""), rows)


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in columns as wide as their longest entry."""
    lines = (head, *rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
