"""Workloads as aniposelib's cameras. Runs in the peers' environment."""

from __future__ import annotations

import aniposelib.cameras
import cv2

from workloads import Workload


def camera_group(work: Workload) -> aniposelib.cameras.CameraGroup:
    """The cameras of a workload."""
    views = zip(work.intrinsics, work.distortion, work.rotation, work.translation, work.image_size, strict=True)
    cameras = [
        aniposelib.cameras.Camera(
            matrix=intrinsics,
            dist=distortion,
            rvec=cv2.Rodrigues(rotation)[0].ravel(),
            tvec=translation,
            size=tuple(int(size) for size in image_size),
            name=str(view),
        )
        for view, (intrinsics, distortion, rotation, translation, image_size) in enumerate(views)
    ]
    return aniposelib.cameras.CameraGroup(cameras)
