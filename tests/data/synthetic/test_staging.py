import pytest
import torch

from marey.core import Cameras, InputError, ShapeError
from marey.core.results import BodyState
from marey.data.synthetic.staging import Staging


def bodies(*batch):
    count = torch.arange(float(batch[0]), dtype=torch.float64)
    return BodyState(
        orientation=torch.eye(3, dtype=torch.float64).expand(*batch, 3, 3),
        pose=torch.eye(3, dtype=torch.float64).expand(*batch, 23, 3, 3),
        shape=torch.zeros(*batch, 2, dtype=torch.float64),
        translation=count.reshape(-1, *(1,) * len(batch)).expand(*batch, 3),
    )


def cameras(views):
    return Cameras(
        intrinsics=torch.eye(3, dtype=torch.float64).expand(views, 3, 3),
        distortion=torch.zeros(views, 5, dtype=torch.float64),
        image_size=torch.full((views, 2), 64.0, dtype=torch.float64),
        rotation=torch.eye(3, dtype=torch.float64).expand(views, 3, 3),
        translation=torch.full((views, 3), 1 / 3, dtype=torch.float64),
        names=tuple(f"cam_{view + 1}" for view in range(views)),
    )


def test_people__are_those_of_the_nearest_frame():
    staging = Staging(people=bodies(4, 2), fps=10, cameras=cameras(3))
    times = torch.tensor([0.0, 0.1, 0.26, 0.9, -1.0], dtype=torch.float64)
    assert staging.people_at(times).translation[:, 1, 0].tolist() == [0, 1, 3, 3, 0]


def test_cameras__are_the_same_in_every_scene_and_rounded_to_single_precision():
    repeated = Staging(people=bodies(4, 2), fps=10, cameras=cameras(3)).cameras_of(5)
    assert repeated.batch_shape == (5, 3)
    assert repeated.names == ("cam_1", "cam_2", "cam_3")
    assert repeated.translation[4, 2, 0].item() == float(torch.tensor(1 / 3, dtype=torch.float32))


def test_staging__of_other_shapes_is_refused():
    with pytest.raises(ShapeError, match=r"people \(T, P\) and cameras \(V,\)"):
        Staging(people=bodies(4), fps=10, cameras=cameras(3))
    with pytest.raises(InputError, match="above 0"):
        Staging(people=bodies(4, 2), fps=0, cameras=cameras(3))
