"""`marey info`: the skeletons, file formats and methods that Marey knows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tyro.conf import Positional

from marey.pipeline.conversion import KINDS


@dataclass(frozen=True, kw_only=True)
class Options:
    """List the skeletons, file formats or methods that Marey knows."""

    topic: Positional[Literal["skeletons", "formats", "methods"]]
    """What to list."""


class Format(NamedTuple):
    """A kind of file, what reads and what writes it (`module:name`, or empty)."""

    name: str
    """For those that `marey convert` knows, what its `--from` and `--to` take."""
    holds: str
    files: str
    reader: str
    writer: str


_RECORDINGS = (
    Format(
        "video", "pictures", ".mp4 .avi .mov .mkv .webm ...", "marey.io.video:VideoFrames", "marey.io.video:write_video"
    ),
    Format("images", "pictures", "folder of .png .jpg .bmp .tif .webp", "marey.io.images:ImageFrames", ""),
)
_BESIDE = (
    Format("opensim", "columns", "OpenSim tables .mot .sto", "marey.io.mot:read_mot", "marey.io.mot:write_mot"),
    Format("asf-amc", "motion", "ASF skeleton with AMC motion, .asf .amc", "marey.io.asf_amc:read_asf_amc", ""),
    Format(
        "humanoid-clip",
        "motion",
        "clips of the 12-joint humanoid, humanoid3d_*.txt",
        "marey.io.humanoid_clips:read_humanoid_clip",
        "",
    ),
    Format(
        "synchronisation",
        "clocks",
        "synchronisation.json of Marey",
        "marey.io.synchronisation_file:read_synchronisation",
        "marey.io.synchronisation_file:write_synchronisation",
    ),
    Format(
        "caliscope-times",
        "clocks",
        "Caliscope timestamps.csv, frame_time_history.csv",
        "marey.io.caliscope_times:read_caliscope_moments",
        "",
    ),
    Format(
        "caliscope-board", "board", "Caliscope board points xy.csv", "marey.io.caliscope_board:read_caliscope_board", ""
    ),
)
"""What `marey convert` does not turn into anything."""

FORMATS = (
    *_RECORDINGS,
    *(
        Format(name, kind, entry.files, entry.reader, entry.writer)
        for kind, table in KINDS.items()
        for name, entry in table.formats.items()
    ),
    *_BESIDE,
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
            format_.holds,
            " and ".join(filter(None, (format_.reader and "read", format_.writer and "write"))),
            format_.files,
        )
        for format_ in FORMATS
    ]
    return _columns(("format", "holds", "", "files"), rows)


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
