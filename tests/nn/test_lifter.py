"""The lifter's network: any joints missing, any batch shape, factors that are covariances."""

import pytest
import torch

from marey.core import InputError, Skeleton, skeleton, skeleton_names
from marey.nn.lifter import HIPS, JOINTS, Lifter, LifterConfig, slots_of

COUNT = len(JOINTS)


def network(dtype=torch.float32):
    torch.manual_seed(3)
    return Lifter(LifterConfig(width=32, blocks=1)).to(dtype).eval()


def inputs(*batch, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(*batch, COUNT, 2, generator=generator, dtype=dtype)
    deviation = 0.05 + 0.1 * torch.rand(*batch, COUNT, generator=generator, dtype=dtype)
    score = torch.rand(*batch, COUNT, generator=generator, dtype=dtype)
    score = torch.where(score < 0.3, 0.0, score)
    return points, deviation, score, 0.1 + torch.rand(batch, generator=generator, dtype=dtype)


@pytest.mark.parametrize("batch", [(), (1,), (2, 1, 3)])
def test_lifter__any_batch_shape(batch):
    given = inputs(6)
    every = network()(*given)
    count = torch.Size(batch).numel()
    some = network()(*(part[:count].reshape((*batch, *part.shape[1:])) for part in given))
    torch.testing.assert_close(some.positions, every.positions[:count].reshape((*batch, COUNT, 3)))
    torch.testing.assert_close(some.factor, every.factor[:count].reshape((*batch, COUNT, 3, 3)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_lifter__between_the_hips_is_the_origin(dtype):
    positions = network(dtype)(*inputs(4, dtype=dtype)).positions
    assert positions.dtype == dtype
    middle = positions[:, list(HIPS)].mean(1)
    torch.testing.assert_close(middle, torch.zeros_like(middle), rtol=0, atol=1e-6)


def test_lifter__what_is_not_seen_does_not_matter():
    points, deviation, score, size = inputs(4)
    unseen = score == 0
    assert unseen.any()
    first = network()(points, deviation, score, size)
    other = network()(
        torch.where(unseen[..., None], torch.nan, points), torch.where(unseen, torch.nan, deviation), score, size
    )
    assert torch.equal(first.positions, other.positions)
    assert torch.equal(first.factor, other.factor)


def test_lifter__what_is_not_seen_passes_no_gradient():
    points, deviation, score, size = inputs(2)
    points = torch.where((score == 0)[..., None], torch.nan, points).requires_grad_()
    lifted = network()(points, deviation, score, size)
    (lifted.positions.sum() + lifted.factor.sum()).backward()
    assert points.grad.isfinite().all()
    assert (points.grad[score == 0] == 0).all()
    assert (points.grad[score > 0] != 0).any()


def test_lifter__factors_are_those_of_covariances():
    factor = network()(*inputs(50)).factor
    assert (factor.triu(1) == 0).all()
    assert (factor.diagonal(dim1=-2, dim2=-1) >= 0.002).all()
    torch.testing.assert_close(torch.linalg.cholesky(factor @ factor.mT), factor, rtol=1e-3, atol=1e-5)


def test_lifter__the_scale_multiplies_covariances():
    lifter, given = network(), inputs(3)
    before = lifter(*given)
    lifter.covariance_scale[7] = 2.0
    after = lifter(*given)
    assert torch.equal(before.positions, after.positions)
    ratio = (after.factor @ after.factor.mT)[:, :, 0, 0] / (before.factor @ before.factor.mT)[:, :, 0, 0]
    expected = torch.ones(3, COUNT)
    expected[:, 7] = 2
    torch.testing.assert_close(ratio, expected)


def test_joints__are_those_of_all_skeletons():
    every = {joint for name in skeleton_names() for joint in skeleton(name).joints}
    assert every == set(JOINTS)
    assert len(set(JOINTS)) == COUNT


def test_slots__by_name():
    odd = Skeleton("odd", ("left_wrist", "tail", "nose"), ())
    slots = slots_of(odd)
    assert [None if slot is None else JOINTS[slot] for slot in slots] == ["left_wrist", None, "nose"]


def test_lifter__as_large_as_asked_for():
    assert sum(part.numel() for part in Lifter().parameters()) < 1_000_000
    with pytest.raises(InputError, match="width of 1 or more"):
        LifterConfig(width=0)


@pytest.mark.slow
def test_lifter__exports_to_onnx_as_it_is(tmp_path):
    onnx, onnxruntime = (pytest.importorskip(name) for name in ("onnx", "onnxruntime"))
    lifter, given, path = network(), inputs(2), tmp_path / "lifter.onnx"
    names = ("points", "deviation", "score", "size")
    torch.onnx.export(
        lifter,
        given,
        str(path),
        input_names=names,
        output_names=("positions", "factor"),
        opset_version=20,
        dynamo=True,
        dynamic_shapes=tuple({0: "people"} for _ in names),
    )
    domains = {node.domain for node in onnx.load(path).graph.node}
    assert domains <= {"", "ai.onnx"}
    session = onnxruntime.InferenceSession(str(path))
    other = inputs(5)
    found = session.run(None, {name: part.numpy() for name, part in zip(names, other, strict=True)})
    for part, expected in zip(found, lifter(*other), strict=True):
        torch.testing.assert_close(torch.from_numpy(part), expected.detach(), rtol=1e-4, atol=1e-5)
