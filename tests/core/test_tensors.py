"""Containers of tensors: what they accept, how they index and join."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from marey.core import ShapeError, TensorFields, Trailing

BATCHES = [(), (1,), (2, 1, 3)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Points(TensorFields):
    positions: Annotated[Tensor, Trailing("J", 3)]
    score: Annotated[Tensor, Trailing("J")]
    flag: Annotated[Tensor, Trailing()] | None = None
    label: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene(TensorFields):
    points: Points
    weight: Annotated[Tensor, Trailing()] | None = None


def points(*batch: int, joints: int = 4, **fields) -> Points:
    count = int(np.prod(batch)) * joints
    positions = torch.arange(count * 3, dtype=torch.float32).reshape(*batch, joints, 3)
    return Points(positions=positions, score=torch.arange(float(count)).reshape(*batch, joints), **fields)


@pytest.mark.parametrize("batch", BATCHES)
def test_construction__finds_the_batch_shape(batch):
    assert points(*batch).batch_shape == batch
    assert Scene(points=points(*batch), weight=torch.zeros(batch)).batch_shape == batch


@pytest.mark.parametrize(
    ("positions", "score", "message"),
    [
        ((2, 4, 2), (2, 4), r"Points.positions: expected \(\.\.\., J, 3\).* got \(2, 4, 2\)"),
        ((2, 4, 3), (2, 5), r"Points.score: expected \(\.\.\., J\) with J=4, got \(2, 5\)"),
        ((2, 4, 3), (3, 4), r"expected the batch shape \(2,\).* got \(3,\)"),
        ((3,), (1,), r"expected \(\.\.\., J, 3\), got \(3,\)"),
    ],
)
def test_construction__wrong_shapes_are_named(positions, score, message):
    with pytest.raises(ShapeError, match=message):
        Points(positions=torch.zeros(positions), score=torch.zeros(score))


def test_construction__a_nested_container_shares_the_batch_shape():
    with pytest.raises(ShapeError, match=r"Scene.weight: expected the batch shape \(2,\)"):
        Scene(points=points(2), weight=torch.zeros(3))


def test_construction__a_list_is_refused():
    with pytest.raises(ShapeError, match=r"expected a tensor .* got list"):
        Points(positions=[[0.0, 0.0, 0.0]], score=torch.zeros(1))


def test_construction__takes_numpy():
    made = Points(positions=np.zeros((2, 4, 3)), score=np.zeros((2, 4)), flag=np.array([True, False]))
    assert made.dtype is torch.float64
    assert made.flag.dtype is torch.bool


def test_construction__takes_numpy_scalars_and_numbers():
    made = Points(positions=np.zeros((1, 3)), score=np.zeros(1), flag=np.float64(2.0))
    assert made.flag.shape == ()
    assert Points(positions=np.zeros((1, 3)), score=np.zeros(1), flag=True).flag.dtype is torch.bool


@pytest.mark.filterwarnings("error")
def test_construction__takes_reversed_and_read_only_arrays():
    positions = np.arange(12.0).reshape(4, 3)
    score = np.arange(4.0)
    score.flags.writeable = False
    made = Points(positions=positions[::-1], score=score)
    np.testing.assert_array_equal(made.positions.numpy(), positions[::-1])
    np.testing.assert_array_equal(made.score.numpy(), score)


def test_construction__shares_the_memory_of_a_plain_array():
    positions = np.zeros((4, 3))
    made = Points(positions=positions, score=np.zeros(4))
    positions[0] = 1.0
    assert made.positions[0, 0] == 1.0


def test_construction__arrays_of_objects_are_refused():
    with pytest.raises(ShapeError, match=r"Points.score: expected numbers"):
        Points(positions=np.zeros((1, 3)), score=np.array([None]))


def test_to__changes_floating_point_tensors_only():
    made = Scene(points=points(2, flag=torch.tensor([True, False]))).to(torch.float64)
    assert made.points.positions.dtype is torch.float64
    assert made.points.flag.dtype is torch.bool
    assert made.to("cpu").device == torch.device("cpu")


def test_map__reaches_nested_tensors_and_keeps_other_fields():
    scene = Scene(points=points(2, label="a"), weight=torch.ones(2))
    mapped = scene.map(lambda tensor: tensor[None])
    assert mapped.batch_shape == (1, 2)
    assert mapped.points.label == "a"
    assert len(list(mapped.tensors())) == 3


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(1, None),
        (slice(None), 1),
        (0, 2),
        None,
        ...,
        (..., 1),
        (slice(None), None, slice(0, 2)),
        torch.tensor([1, 0, 1]),
        [1, 0],
        (torch.tensor([0, 1]), torch.tensor([2, 0])),
        torch.tensor([[True, False, True], [False, False, True]]),
    ],
)
def test_getitem__indexes_every_field_like_its_batch(index):
    scene = Scene(points=points(2, 3), weight=torch.arange(6.0).reshape(2, 3))
    picked = scene[index]
    flat = torch.arange(6).reshape(2, 3)[index]
    assert picked.batch_shape == flat.shape
    torch.testing.assert_close(picked.weight, flat.float())
    torch.testing.assert_close(picked.points.positions, scene.points.positions.reshape(6, 4, 3)[flat])
    torch.testing.assert_close(picked.points.score, scene.points.score.reshape(6, 4)[flat])


@st.composite
def batches_and_indices(draw) -> tuple[tuple[int, ...], tuple]:
    """A batch shape, and an index of whole numbers, slices, new dimensions and at most one ellipsis that fits it."""
    batch = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    index = []
    for size in batch[: draw(st.integers(0, len(batch)))]:
        index += [None] * draw(st.integers(0, 1))
        start, stop = draw(st.integers(-size, size)), draw(st.integers(-size, size))
        index.append(draw(st.sampled_from([draw(st.integers(-size, size - 1)), slice(start, stop), slice(None)])))
    return batch, (*index, *([...] * draw(st.integers(0, 1))))


@given(batches_and_indices())
def test_getitem__any_basic_index_means_what_it_means_for_the_batch(case):
    batch, index = case
    made = points(*batch)
    flat = torch.arange(int(np.prod(batch))).reshape(batch)[index]
    picked = made[index]
    assert picked.batch_shape == flat.shape
    torch.testing.assert_close(picked.score, made.score.reshape(-1, 4)[flat])


@pytest.mark.parametrize("index", [2, (0, 0, 0), (0, 3), (slice(None), slice(None), slice(None))])
def test_getitem__may_not_reach_beyond_the_batch(index):
    with pytest.raises(ShapeError, match=r"Points with the batch shape \(2, 3\)"):
        points(2, 3)[index]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_stack__is_undone_by_indexing(dim):
    first, second = points(3), points(3).map(lambda tensor: tensor + 1)
    stacked = Points.stack([first, second], dim=dim)
    assert stacked.batch_shape == ((2, 3) if dim == 0 else (3, 2))
    again = stacked[1] if dim == 0 else stacked[:, 1]
    torch.testing.assert_close(again.positions, second.positions)
    torch.testing.assert_close(again.score, second.score)


def test_cat__joins_nested_containers():
    scenes = [Scene(points=points(2, 3), weight=torch.zeros(2, 3)), Scene(points=points(2, 1), weight=torch.ones(2, 1))]
    joined = Scene.cat(scenes, dim=-1)
    assert joined.batch_shape == (2, 4)
    torch.testing.assert_close(joined[:, 3:].points.positions, scenes[1].points.positions)


def test_join__refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match="at least one Points"):
        Points.stack([])
    with pytest.raises(ShapeError, match=r"a dimension in -1\.\.0 .* got 1"):
        Points.cat([points(2), points(2)], dim=1)
    with pytest.raises(ShapeError, match=r"Points.flag: present in some of the 2"):
        Points.stack([points(), points(flag=torch.tensor(True))])
    with pytest.raises(ShapeError, match=r"Points.label: differs"):
        Points.stack([points(label="a"), points(label="b")])
    with pytest.raises(ShapeError, match=r"Points.positions: the shapes .* do not join"):
        Points.stack([points(joints=4), points(joints=5)])


def test_gradients__flow_through_indexing_and_stacking():
    made = points(2)
    leaf = made.positions.requires_grad_()
    Points.stack([made[0], made[1]]).positions.sum().backward()
    torch.testing.assert_close(leaf.grad, torch.ones_like(leaf))
