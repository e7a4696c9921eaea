"""Adam as TensorFlow computes it, for recipes that were published with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class AdamTensorFlow(torch.optim.Optimizer):
    """Adam whose epsilon is not divided by the correction of the second moment.

    p -= rate * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon): the form before section 2.1 of Kingma and Ba
    (ICLR 2015), "epsilon hat". torch.optim.Adam has sqrt(v / (1 - b2^t)) + epsilon, so that in the first steps its
    epsilon counts for less. `weight_decay` adds to the gradient, as in torch.optim.Adam.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        betas: Smoothing of the first and second moment.
        eps: TensorFlow's default is 1e-7.
        weight_decay: Share of a parameter that is added to its gradient.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-7,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one step with the gradients that the parameters have."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)
        return loss

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state, (first, second) = self.state[parameter], group["betas"]
        if not state:
            state["step"] = 0
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        gradient = parameter.grad
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - first)
        square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
        correction = (1 - second ** state["step"]) ** 0.5 / (1 - first ** state["step"])
        parameter.addcdiv_(mean, square.sqrt().add_(group["eps"]), value=-group["lr"] * correction)
