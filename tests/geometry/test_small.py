import pytest
import torch
from torch.autograd import gradcheck

from marey.geometry.small import (
    any_perpendicular,
    cholesky_2x2,
    determinant_3x3,
    eigh_2x2,
    eigh_3x3,
    inverse_2x2,
    inverse_3x3_symmetric,
    rotation_from_correlation,
    solve_3x3_symmetric,
)

BATCHES = [(), (1,), (2, 1, 3), (500,)]
TYPES = [torch.float32, torch.float64]


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def covariance(*shape, size, dtype=torch.float64, seed=0):
    factor = random(*shape, size, size, dtype=torch.float64, seed=seed)
    return (factor @ factor.mT + 0.1 * torch.eye(size, dtype=torch.float64)).to(dtype)


def accuracy(dtype):
    return {"rtol": 2e-4, "atol": 2e-4} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-10}


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", TYPES)
def test_closed_forms__equal_torch_linalg(batch, dtype):
    two, three = covariance(*batch, size=2, dtype=dtype), covariance(*batch, size=3, dtype=dtype)
    right = random(*batch, 3, dtype=dtype, seed=1)
    general = random(*batch, 3, 3, dtype=dtype, seed=2)
    pairs = [
        (inverse_2x2(two), torch.linalg.inv(two)),
        (inverse_2x2(general[..., :2, :2]), torch.linalg.inv(general[..., :2, :2])),
        (cholesky_2x2(two), torch.linalg.cholesky(two)),
        (determinant_3x3(general), torch.linalg.det(general)),
        (inverse_3x3_symmetric(three), torch.linalg.inv(three)),
        (solve_3x3_symmetric(three, right), torch.linalg.solve(three, right)),
        (eigh_2x2(two)[0], torch.linalg.eigvalsh(two)),
        (eigh_3x3(three)[0], torch.linalg.eigvalsh(three)),
        (eigh_3x3(general)[0], torch.linalg.eigvalsh(general)),
    ]
    for ours, expected in pairs:
        assert ours.shape == expected.shape
        torch.testing.assert_close(ours, expected, **{**accuracy(dtype), "rtol": 1e-3} if dtype is TYPES[0] else {})


HARD = {
    "zero": torch.zeros(3, 3),
    "identity": torch.eye(3),
    "pair low": torch.diag(torch.tensor([1.0, 1.0, 2.0])),
    "pair high": torch.diag(torch.tensor([2.0, 1.0, 2.0])),
    "near pair": torch.diag(torch.tensor([1.0, 1.0 + 1e-6, 2.0])),
    "near triple": torch.diag(torch.tensor([1.0, 1.0 + 1e-7, 1.0 - 1e-7])),
    "rank one": torch.ones(3, 3),
    "wide": torch.diag(torch.tensor([1e-8, 1.0, 1e8])),
    "tiny": torch.diag(torch.tensor([1e-12, 2e-12, 3e-12])),
    "tiniest": torch.tensor([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]]) * 1e-28,
    "indefinite": torch.tensor([[0.0, 1, 2], [1, 0, 3], [2, 3, 0]]),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("turned", [False, True])
def test_eigh_3x3__hard_matrices_are_decomposed_to_rounding(name, dtype, turned):
    matrix = HARD[name].to(torch.float64)
    if turned:
        basis = torch.linalg.qr(random(20, 3, 3, seed=4)).Q
        matrix = basis @ matrix @ basis.mT
    matrix = ((matrix + matrix.mT) / 2).to(dtype)
    values, vectors = eigh_3x3(matrix)
    size = matrix.abs().max()
    eps = torch.finfo(dtype).eps
    assert (values.diff(dim=-1) >= 0).all()
    assert (vectors @ (values[..., None] * vectors.mT) - matrix).abs().max() <= 30 * eps * size
    assert (vectors.mT @ vectors - torch.eye(3, dtype=dtype)).abs().max() <= 10 * eps
    assert (values - torch.linalg.eigvalsh(matrix)).abs().max() <= 10 * eps * size
    torch.testing.assert_close(determinant_3x3(vectors), torch.ones(matrix.shape[:-2], dtype=dtype))


def test_eigh_2x2__equal_eigenvalues_and_reconstruction():
    matrix = torch.stack((torch.eye(2), torch.zeros(2, 2), torch.tensor([[1.0, 2], [2, -3]])))
    values, vectors = eigh_2x2(matrix)
    torch.testing.assert_close(vectors @ (values[..., None] * vectors.mT), matrix)
    torch.testing.assert_close(torch.linalg.det(vectors), torch.ones(3))


@pytest.mark.parametrize("batch", [(), (2, 1, 3)])
def test_gradients__match_differences(batch):
    two = covariance(*batch, size=2).requires_grad_()
    three = covariance(*batch, size=3).requires_grad_()
    right = random(*batch, 3).requires_grad_()
    general = random(*batch, 3, 3, seed=3).requires_grad_()
    assert gradcheck(lambda A: (inverse_2x2(A), cholesky_2x2(A)), two)
    assert gradcheck(lambda A, b: (inverse_3x3_symmetric(A), solve_3x3_symmetric(A, b)), (three, right))
    assert gradcheck(determinant_3x3, general)
    assert gradcheck(lambda A: eigh_2x2(A), two)
    assert gradcheck(lambda A: eigh_3x3(A), three)
    assert gradcheck(lambda A: rotation_from_correlation(A)[0], general)


def test_gradients__equal_eigenvalues_are_finite():
    for function, size in ((eigh_2x2, 2), (eigh_3x3, 3)):
        matrix = torch.eye(size).requires_grad_()
        values, vectors = function(matrix)
        (values.sum() + vectors.sum()).backward()
        torch.testing.assert_close(matrix.grad, torch.eye(size))


def closest_rotation(matrix):
    U, _, Vt = torch.linalg.svd(matrix)
    sign = torch.ones(*matrix.shape[:-2], 3, dtype=matrix.dtype)
    sign[..., 2] = torch.linalg.det(U @ Vt)
    return U @ (sign[..., None] * Vt)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", TYPES)
def test_rotation_from_correlation__equals_svd(batch, dtype):
    matrix = random(*batch, 3, 3, seed=5)
    rotation, determined = rotation_from_correlation(matrix.to(dtype))
    firm = determined > 0.01
    expected = closest_rotation(matrix).to(dtype)
    tolerance = {"rtol": 0, "atol": 5e-5 if dtype == torch.float32 else 1e-12}
    torch.testing.assert_close(rotation[firm], expected[firm], **tolerance)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=dtype).expand_as(rotation))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(batch, dtype=dtype))
    singular = torch.linalg.svdvals(matrix)
    signed = singular[..., 2] * torch.linalg.det(matrix).sign()
    torch.testing.assert_close(
        determined, ((singular[..., 1] + signed) / singular[..., 0]).to(dtype), rtol=1e-3, atol=1e-5
    )


def test_rotation_from_correlation__is_equivariant_and_ignores_scale():
    matrix = random(50, 3, 3, seed=6)
    turn = closest_rotation(random(50, 3, 3, seed=7))
    rotation, _ = rotation_from_correlation(matrix)
    torch.testing.assert_close(rotation_from_correlation(turn @ matrix)[0], turn @ rotation)
    for scale in (1e-30, 1e30):
        scaled, _ = rotation_from_correlation((scale * matrix).float())
        torch.testing.assert_close(scaled, rotation.float(), rtol=0, atol=1e-4)
    torch.testing.assert_close(rotation_from_correlation(turn)[0], turn)


@pytest.mark.parametrize("kind", ["plane", "line", "zero", "mirror"])
@pytest.mark.parametrize("dtype", TYPES)
def test_rotation_from_correlation__degenerate(kind, dtype):
    points = random(200, 10, 3, seed=8)
    points[..., {"plane": slice(2, 3), "line": slice(1, 3), "zero": slice(0, 3), "mirror": slice(3, 3)}[kind]] = 0
    turn = closest_rotation(random(200, 3, 3, seed=9))
    moved = points @ turn.mT
    if kind == "mirror":
        moved = -moved
    matrix = (moved.mT @ points).to(dtype).requires_grad_()
    rotation, determined = rotation_from_correlation(matrix)
    assert rotation.isfinite().all()
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(200, dtype=dtype))
    if kind == "plane":
        torch.testing.assert_close(rotation, turn.to(dtype), atol=1e-4 if dtype == torch.float32 else 1e-9, rtol=0)
    if kind in ("line", "zero"):
        assert (determined.abs() < 1e-3).all()
    if kind == "mirror":
        assert (determined < 1).all()
    rotation.sum().backward()
    assert matrix.grad.isfinite().all()


def test_any_perpendicular__of_every_axis():
    vectors = torch.cat((torch.eye(3), -torch.eye(3), torch.nn.functional.normalize(random(20, 3).float(), dim=-1)))
    found = any_perpendicular(vectors)
    torch.testing.assert_close((found * vectors).sum(-1), torch.zeros(26))
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(26))


def test_singular__is_not_an_error():
    assert not inverse_3x3_symmetric(torch.ones(3, 3)).isfinite().any()
    assert not inverse_2x2(torch.zeros(2, 2)).isfinite().any()
    assert eigh_3x3(torch.full((3, 3), torch.nan))[0].isnan().all()
