"""The pictures of a board that a calibration of extrinsics believes, and the views that they connect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor

from marey.calibrate.calibration import BoardObservations, Rejection
from marey.calibrate.extrinsics_config import TIMES_MEDIAN, ExtrinsicsConfig
from marey.calibrate.placement import connected_groups, place_cameras, possible_orders
from marey.core import CalibrationError, Cameras, InputError
from marey.geometry.planar_pose import PlanarPoses, TargetPoses, locate_target, planar_poses
from marey.geometry.views import fit_to_image

_FEW = "only {} corners of the board were seen, too few to rely on"
_LOST = "the corners lie on a line, or no place of the board explains them"
_FALSE = "the corners do not lie on the board, at best {:.0f} px off: probably something else was taken for it"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """What is believed so far."""

    observations: BoardObservations
    cameras: Cameras
    """(V,) intrinsics as given, float64."""
    poses: PlanarPoses
    listed: Tensor
    """(V, M, C, 2) all corners that were seen on boards, in the order that the views share."""
    pixels: Tensor
    """(V, M, C, 2) the same without boards that contradict; NaN = not used."""
    rejected: tuple[Rejection, ...]
    contradicting: Tensor
    """(V, M) boolean: boards left out because the other views see them elsewhere."""
    least_shared: int

    @classmethod
    def gather(cls, observations: BoardObservations, cameras: Cameras, config: ExtrinsicsConfig) -> Pictures:
        """Take out the pictures that show too little of the board, or something else."""
        pixels = observations.pixels.to(torch.float64)
        seen = pixels.isfinite().all(-1)
        enough = seen.sum(-1) >= min(config.least_corners, seen.shape[-1])
        poses = planar_poses(
            torch.where(enough[..., None, None], pixels, torch.nan), observations.board.points, cameras
        )
        rms = poses.rms[..., 0]
        bound = (TIMES_MEDIAN * rms.nanmedian(1, keepdim=True).values).clamp_min(config.false_board)
        flat = rms.isfinite()
        false = flat & (rms > bound)
        few, lost = seen.any(-1) & ~enough, enough & ~flat
        rejected = rejections(few, lambda view, moment: _FEW.format(int(seen[view, moment].sum())))
        rejected += rejections(lost, lambda view, moment: _LOST)
        rejected += rejections(false, lambda view, moment: _FALSE.format(float(rms[view, moment])))
        good = (flat & ~false)[..., None, None]
        pixels = torch.where(good & seen[..., None], pixels, torch.nan)
        kept = PlanarPoses(
            rotation=torch.where(good[..., None], poses.rotation, torch.nan),
            translation=torch.where(good, poses.translation, torch.nan),
            rms=torch.where(good[..., 0], poses.rms, torch.nan),
        )
        return cls(
            observations=observations,
            cameras=cameras,
            poses=kept,
            listed=pixels,
            pixels=pixels,
            rejected=rejected,
            contradicting=torch.zeros_like(flat),
            least_shared=config.least_shared,
        )

    @property
    def shared(self) -> Tensor:
        """(V, V) how many boards pairs of views share."""
        return shared_boards(self.pixels)

    def of(self, views: list[int]) -> Pictures:
        """Some of the views alone."""
        if len(views) == len(self.pixels):
            return self
        poses = self.poses
        place = {view: at for at, view in enumerate(views)}
        rejected = tuple(replace(item, view=place[item.view]) for item in self.rejected if item.view in place)
        return replace(
            self,
            observations=_restricted(self.observations, views),
            cameras=self.cameras[views],
            poses=poses.of(views),
            listed=self.listed[views],
            pixels=self.pixels[views],
            rejected=rejected,
            contradicting=self.contradicting[views],
        )

    def placed(self) -> Cameras:
        """Rough extrinsics."""
        return place_cameras(
            self.pixels,
            self.observations.board.points,
            self.cameras,
            poses=self.poses,
            shared=self.shared,
            orders=possible_orders(self.observations.board),
        )

    def located(self, cameras: Cameras) -> TargetPoses:
        """The boards before placed cameras, with the order in which each view listed the corners."""
        board = self.observations.board
        orders = possible_orders(board)
        return locate_target(self.listed, board.points, cameras, poses=self.poses, orders=orders)

    def in_order(self, located: TargetPoses) -> tuple[Pictures, tuple[str, ...]]:
        """With the corners of every view in the same order, and a sentence for each view where they were not."""
        places = possible_orders(self.observations.board)[located.order]
        index = places[..., None].expand_as(self.listed)
        turned = (located.order > 0) & self.listed.isfinite().all(-1).any(-1)
        notes = tuple(
            f"{name}: in {count} pictures the corners of the checkerboard were listed the other way round than other "
            "views saw them; they were turned."
            for name, count in zip(self.observations.names, turned.sum(1).tolist(), strict=True)
            if count
        )
        if not turned.any():
            return self, ()
        listed = self.listed.gather(2, index)
        given = self.observations.pixels.gather(2, index.to(self.observations.pixels.device))
        poses = planar_poses(listed, self.observations.board.points, self.cameras)
        observations = replace(self.observations, pixels=given)
        return replace(self, listed=listed, pixels=listed, poses=poses, observations=observations), notes

    def without(self, contradicting: Tensor) -> Pictures:
        """Leave boards (V, M) out."""
        left = torch.where(contradicting[..., None, None], torch.nan, self.listed)
        return replace(self, pixels=left, contradicting=contradicting)


def shared_boards(pixels: Tensor) -> Tensor:
    """How many boards pairs of views share, (V, V) float64, from pixels (V, M, C, 2)."""
    has = pixels.isfinite().all(-1).any(-1).double()
    return has @ has.T


def connect(pictures: Pictures, config: ExtrinsicsConfig) -> tuple[Pictures, tuple[str, ...]]:
    """All views if boards connect them; else complain, or go on with the largest group."""
    shared = pictures.shared
    groups = connected_groups(shared >= config.least_shared)
    if len(groups) == 1:
        return pictures, ()
    names = pictures.observations.names
    largest = max(groups, key=lambda group: (len(group), float(shared[group][:, group].sum())))
    if config.unconnected == "raise" or len(largest) < 2:
        raise CalibrationError(describe_groups(groups, shared, names, config.least_shared))
    left = [name for view, name in enumerate(names) if view not in largest]
    note = (
        f"Left out, because they share fewer than {config.least_shared} boards with the others: {', '.join(left)}. "
        "Show the board to them together with another camera."
    )
    return pictures.of(largest), (note,)


def describe_groups(groups: list[list[int]], shared: Tensor, names: tuple[str, ...], least: int) -> str:
    """Say which groups of views are separate, and which pairs should see the board to join them."""
    called = [" + ".join(names[view] for view in group) for group in groups]
    missing = []
    for first, second in combinations(groups, 2):
        block = shared[first][:, second]
        a, b = divmod(int(block.argmax()), len(second))
        count = int(block[a, b])
        had = f" (so far {count})" if count else ""
        missing.append(f"to {names[first[a]]} and {names[second[b]]} together{had}")
    return (
        f"not all cameras can be placed: expected pairs of views that share {least} boards or more to connect all, got "
        f"the separate groups {'; '.join(called)}. Show the board {', or '.join(missing)}"
    )


def match_cameras(observations: BoardObservations, cameras: Cameras) -> tuple[Cameras, tuple[str, ...]]:
    """The cameras of the views in their order, float64 without extrinsics, fitted to the images."""
    names = observations.names
    if len(names) < 2:
        raise InputError("calibrating extrinsics: expected boards of two or more views, got one")
    if not observations.simultaneous:
        raise InputError(
            "these pictures were not taken at the same time, so they tell nothing about where cameras stand to each "
            "other; give synchronised videos or pictures of the board seen by several cameras at once"
        )
    if cameras.batch_shape != (len(names),):
        raise CalibrationError(
            f"cameras: expected one for each of the views {', '.join(names)}, got {cameras.batch_shape}"
        )
    if cameras.names and set(cameras.names) != set(names):
        raise CalibrationError(
            f"cameras: the intrinsics are of {', '.join(cameras.names)} and the views are {', '.join(names)}; rename "
            "one of them"
        )
    if cameras.names:
        cameras = cameras[[cameras.names.index(name) for name in names]]
    bare = replace(cameras.to(torch.float64), rotation=None, translation=None, names=names)
    if not bare.intrinsics.isfinite().all() or not bare.distortion.isfinite().all():
        raise CalibrationError(
            "cameras: the intrinsics of every view have to be known and finite; calibrate them first"
        )
    return fit_to_image(bare, observations.sizes.to(torch.float64), names)


def rejections(left_out: Tensor, why: Callable[[int, int], str]) -> tuple[Rejection, ...]:
    """A rejection for each marked picture (V, M), with the sentence that `why` makes of its view and moment."""
    places = left_out.nonzero().tolist()
    return tuple(Rejection(view=view, moment=moment, why=why(view, moment)) for view, moment in places)


def _restricted(observations: BoardObservations, views: list[int]) -> BoardObservations:
    """Some of the views alone."""
    place = {view: at for at, view in enumerate(views)}
    sources = observations.sources
    return replace(
        observations,
        pixels=observations.pixels[views],
        names=tuple(observations.names[view] for view in views),
        sizes=observations.sizes[views],
        frame_indices=observations.frame_indices[views],
        sources=tuple(sources[view] for view in views) if sources else (),
        rejected=tuple(replace(item, view=place[item.view]) for item in observations.rejected if item.view in place),
    )
