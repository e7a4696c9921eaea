import pytest
import torch
from scipy.optimize import least_squares as scipy_least_squares

from marey.core import InputError
from marey.geometry.robust import RobustLoss

KINDS = ("squared", "huber", "cauchy", "geman_mcclure")


@pytest.mark.parametrize("kind", KINDS)
def test_robust_loss__weight_is_the_derivative(kind):
    s = torch.tensor([0.0, 0.3, 2.0, 30.0, 1e4], dtype=torch.float64, requires_grad=True)
    rho, weight = RobustLoss(kind, 1.7)(s)
    (slope,) = torch.autograd.grad(rho.sum(), s)
    torch.testing.assert_close(slope, weight)


@pytest.mark.parametrize("kind", KINDS)
def test_influence_slope__is_half_the_divergence_in_the_plane(kind):
    loss = RobustLoss(kind, 1.7)
    residuals = torch.tensor([[0.0, 0.0], [0.3, -0.5], [3.0, 1.0], [-20.0, 40.0]], dtype=torch.float64)

    def influence(residual):
        return loss(residual.square().sum())[1] * residual

    divergence = torch.func.vmap(torch.func.jacfwd(influence))(residuals).diagonal(dim1=-2, dim2=-1).sum(-1)
    torch.testing.assert_close(loss.influence_slope(residuals.square().sum(-1)), divergence / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_robust_loss__is_squared_near_zero_and_never_above(kind):
    s = torch.logspace(-8, 4, 50, dtype=torch.float64)
    rho, weight = RobustLoss(kind, 2.0)(s)
    torch.testing.assert_close(rho[0], s[0])
    assert (rho <= s).all()
    assert ((weight > 0) & (weight <= 1)).all()
    assert (weight.diff() <= 0).all()


@pytest.mark.parametrize(("kind", "name"), [("squared", "linear"), ("huber", "huber"), ("cauchy", "cauchy")])
def test_robust_loss__has_scipys_cost(kind, name):
    values = torch.tensor([0.1, -3.0, 8.0], dtype=torch.float64)
    solved = scipy_least_squares(lambda x: values.numpy() + 0 * x[0], [0.0], loss=name, f_scale=1.5, max_nfev=1)
    rho, _ = RobustLoss(kind, 1.5)(values.square())
    assert rho.sum().item() / 2 == pytest.approx(solved.cost, rel=1e-12)


def test_robust_loss__refuses_what_it_does_not_know():
    with pytest.raises(InputError, match="expected one of squared, huber"):
        RobustLoss("tukey")
    with pytest.raises(InputError, match="expected a positive number, got 0"):
        RobustLoss("huber", 0.0)
