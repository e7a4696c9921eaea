"""What can be said about cameras from their numbers alone, and from the people in front of them."""

from __future__ import annotations

import torch
from torch import Tensor

from marey.calibrate.assessment import camera_names
from marey.calibrate.calibration import Finding
from marey.calibrate.people_agreement import PeopleAgreement
from marey.core import Cameras, Keypoints2D
from marey.geometry.projection import invertible_share, project
from marey.geometry.triangulation import triangulate

ANGLES = (12.0, 150.0)
"""Degrees: fields of view across the longer side beyond which a focal length is doubted."""
ASPECT = 0.03
"""Relative difference of fx and fy beyond which it is told."""
OFF_MIDDLE = 0.15
"""Of the image's longer side: principal points farther from the middle are told."""
FOLDED = 0.01
"""Share of the image that a lens model may leave without an inverse before it is a problem."""
NEAR = 0.05
"""Metres: cameras closer than this are at one place."""
FAR = 100.0
"""Metres between cameras beyond which the unit is doubted."""
WELL_MM, BADLY_MM = 25.0, 80.0
"""Median errors of people's joints up to which cameras are good, and beyond which they cannot be used."""
REACHABLE = 0.8
"""Cameras are told to be improvable if adjusting them lowers the median error to this share."""
ODD_VIEW = 2.5
"""A view disagrees when the others place its joints this many times farther off than they do the median view's."""
THIGH = (0.18, 0.65)
"""Metres: plausible lengths of people's thighs."""


def check_cameras(cameras: Cameras) -> tuple[Finding, ...]:
    """What is odd about cameras (V,) as they are: lenses, fields of view, places. Nothing odd: one good finding."""
    cameras = cameras.to(torch.float64)
    names = camera_names(cameras)
    findings = [finding for view, name in enumerate(names) for finding in _check_lens(cameras[view], name)]
    if cameras.has_extrinsics and len(names) > 1:
        findings += _check_places(cameras, names)
    elif not cameras.has_extrinsics:
        findings.append(
            Finding(
                severity="notice",
                text="The cameras have intrinsics only: where they stand is not known.",
                advice="Calibrate their places with a board that two or more of them see at the same time.",
            )
        )
    if not findings:
        findings.append(Finding(severity="good", text=f"Lenses and fields of view are plausible{_distances(cameras)}."))
    return tuple(findings)


def _distances(cameras: Cameras) -> str:
    """How far apart the cameras stand, to be read and compared with the room."""
    if len(cameras.intrinsics) < 2:
        return ""
    apart = torch.pdist(cameras.centers)
    return f"; the cameras stand {apart.min().item():.2f} to {apart.max().item():.2f} m apart"


def _check_lens(camera: Cameras, name: str) -> list[Finding]:
    width, height = camera.image_size.tolist()
    if not bool(camera.image_size.isfinite().all()):
        return [
            Finding(
                severity="notice",
                text=f"{name}: the file does not say the size of its images; its lens cannot be checked.",
                advice="Add `size = [width, height]` to the camera.",
            )
        ]
    findings = []
    fx, fy = camera.intrinsics[0, 0].item(), camera.intrinsics[1, 1].item()
    longer = max(width, height)
    angle = float(torch.tensor(longer / 2 / (fx if width >= height else fy)).atan().rad2deg()) * 2
    fisheye = camera.fisheye is not None and bool(camera.fisheye)
    if not fisheye and not ANGLES[0] <= angle <= ANGLES[1]:
        findings.append(
            Finding(
                severity="problem" if angle > ANGLES[1] else "notice",
                text=f"{name}: a focal length of {fx:.4g} px for {width:.0f} x {height:.0f} pixels is a field of view "
                f"of {angle:.0f} degrees.",
                advice="Check that the focal length is in pixels, and of images of this size.",
            )
        )
    if abs(fx / fy - 1) > ASPECT:
        findings.append(
            Finding(
                severity="notice",
                text=f"{name}: fx and fy differ by {100 * abs(fx / fy - 1):.1f} %; pixels of today's cameras are "
                "square.",
                advice="Calibrate the lens with more boards near the corners of the image, or scale the video evenly.",
            )
        )
    off = (camera.intrinsics[:2, 2] - (camera.image_size - 1) / 2).abs().amax().item()
    if off > OFF_MIDDLE * longer:
        findings.append(
            Finding(
                severity="notice",
                text=f"{name}: the principal point lies {off:.0f} px off the middle of the image.",
                advice="Right for a cropped image; else calibrate with boards at both sides and at different tilts.",
            )
        )
    return findings + _check_inverse(camera, name)


def _check_inverse(camera: Cameras, name: str) -> list[Finding]:
    """Whether each pixel of the image belongs to one direction."""
    missing = 1 - float(invertible_share(camera))
    if not missing:
        return []
    return [
        Finding(
            severity="problem" if missing > FOLDED else "notice",
            text=f"{name}: the distortion has no inverse in {100 * missing:.1f} % of the image: the polynomial folds "
            "back there.",
            advice="Calibrate with fewer coefficients, or with boards that reach into the corners of the image; "
            "keypoints there are left out.",
        )
    ]


def _check_places(cameras: Cameras, names: tuple[str, ...]) -> list[Finding]:
    centers = cameras.centers
    apart = torch.cdist(centers, centers)
    pairs = torch.triu_indices(len(names), len(names), offset=1).T.tolist()
    findings = [
        Finding(
            severity="notice",
            text=f"{names[a]} and {names[b]} stand at one place, {1000 * apart[a, b].item():.0f} mm apart.",
            advice="Depth cannot be had from the two of them alone; check that none is in the file twice.",
        )
        for a, b in pairs
        if apart[a, b] < NEAR
    ]
    if float(apart.amax()) > FAR:
        findings.append(
            Finding(
                severity="problem",
                text=f"The cameras stand up to {apart.amax().item():.0f} m apart.",
                advice="The unit is probably another one: pass --unit mm or --unit cm.",
            )
        )
    blind = [name for name, sees in zip(names, _see_the_middle(cameras), strict=True) if not sees]
    if blind:
        findings.append(
            Finding(
                severity="notice",
                text=f"{', '.join(blind)} cannot see the point at which the cameras look together.",
                advice="Check rotation and translation: both have to be world to camera.",
            )
        )
    return findings


def _see_the_middle(cameras: Cameras) -> list[bool]:
    """Which cameras have the point nearest to all optical axes in their image, or near it; all if there is none."""
    rotation, _ = cameras.extrinsics
    axis = rotation[:, 2]
    across = torch.eye(3, dtype=axis.dtype) - axis[:, :, None] * axis[:, None]
    total = across.sum(0)
    if float(torch.linalg.eigvalsh(total)[0]) < 0.02 * len(axis):  # all look along one line: no point is the middle
        return [True] * len(axis)
    middle: Tensor = torch.linalg.solve(total, (across @ cameras.centers[..., None])[..., 0].sum(0))
    pixels = project(middle.expand(len(axis), 3), cameras)
    margin = 0.1 * cameras.image_size
    inside = (pixels > -margin) & (pixels < cameras.image_size + margin)
    seen: list[bool] = (inside.all(-1) | ~cameras.image_size.isfinite().all(-1)).tolist()
    return seen


def check_people(
    agreement: PeopleAgreement, names: tuple[str, ...], *, reachable_px: float | None = None
) -> tuple[Finding, ...]:
    """What the agreement of the views about people says about the cameras.

    Args:
        agreement: of V views.
        names: of the views.
        reachable_px: the median error that cameras adjusted to other frames of the same people have, if that is known.
    """
    px, mm = agreement.median_px, agreement.median_mm
    text = f"People's joints reproject {px:.1f} px off in the median, {mm:.0f} mm at their distance."
    findings = [
        Finding(severity="good", text=text)
        if mm <= WELL_MM
        else Finding(
            severity="notice" if mm <= BADLY_MM else "problem",
            text=text,
            advice="Check that views and cameras belong together and that the videos are synchronous; then refine the "
            "cameras with marey calibrate --refine-with-people, or calibrate anew.",
        )
    ]
    if reachable_px is not None and reachable_px < REACHABLE * px:
        findings.append(
            Finding(
                severity="notice",
                text=f"Slightly other cameras agree better: {reachable_px:.1f} px instead of {px:.1f} px, on frames "
                "that they were not adjusted to.",
                advice="Refine the cameras with marey calibrate --refine-with-people, or calibrate anew.",
            )
        )
    unseen = agreement.unseen_px
    usual = float(unseen.nanmedian()) if unseen.isfinite().any() else torch.nan
    findings += [
        Finding(
            severity="notice",
            text=f"{name} disagrees with the others, which place its joints {off:.1f} px off ({usual:.1f} px in the "
            "median view).",
            advice=f"Has {name} been moved or zoomed since the calibration, or is its video out of step?",
        )
        for name, off in zip(names, unseen.tolist(), strict=True)
        if off > ODD_VIEW * usual and off > 5
    ]
    lonely = [name for name, error in zip(names, agreement.error_px.tolist(), strict=True) if error != error]
    if lonely:
        findings.append(
            Finding(
                severity="notice",
                text=f"{', '.join(lonely)} shares no joint with another view: nothing can be said about it.",
                advice="Record a person whom it sees together with others.",
            )
        )
    return tuple(findings)


def check_stature(keypoints: Keypoints2D, cameras: Cameras) -> tuple[Finding, ...]:
    """Whether people in front of the cameras have a human size: if not, the calibration's unit is another one."""
    skeleton = keypoints.skeleton
    ends = [(f"{side}_hip", f"{side}_knee") for side in ("left", "right")]
    if not all(joint in skeleton for pair in ends for joint in pair):
        return ()
    points = triangulate(keypoints.positions.double(), cameras.to(torch.float64), method="dlt").positions
    hips, knees = (points[..., skeleton.indices([pair[end] for pair in ends]), :] for end in (0, 1))
    length = float((hips - knees).norm(dim=-1).nanmedian())
    if length != length or THIGH[0] <= length <= THIGH[1]:
        return ()
    return (
        Finding(
            severity="problem",
            text=f"People's thighs would be {length:.3g} m long.",
            advice="The unit of the calibration is another one: pass --unit, or correct the size of the board.",
        ),
    )


def camera_heights(centers: Tensor, points: Tensor, up: Tensor) -> tuple[Tensor, float]:
    """Heights (V,) of camera centres (V, 3) above the ground on which people stand, metres, and the ground's height.

    The ground lies at the 2nd percentile of the heights of joints (N, 3) along the unit vector `up` (3,).
    """
    heights = points[points.isfinite().all(-1)] @ up.to(points)
    ground = float(heights.quantile(0.02))
    return centers.to(points) @ up.to(points) - ground, ground
