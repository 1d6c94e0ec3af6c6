"""AdamW that leaves alone the rows of an embedding that a step has not read, and loses nothing by it.

Plain AdamW moves every row at every step: the momentum of a row that was read a while ago goes on, and all rows decay.
Of a table with 30,000 rows a batch reads a few hundred, so nearly all of that work is put off until a row is read
again, when it has a closed form. With no gradient since step s, at step s + j,

    m = beta1^j m_s        v = beta2^j v_s        update = w_(s+j) * rho^j * m_s / (sqrt(v_s) + epsilon)

    w_t = rate_t * sqrt(1 - beta2^t) / (1 - beta1^t)        rho = beta1 / sqrt(beta2) = 0.9005

so the put-off updates are m_s / (sqrt(v_s) + epsilon) times a sum that depends on s and the present step alone; after
``HORIZON`` steps rho^j is below the resolution of fp32. What is neglected is how epsilon weighs in as sqrt(v) shrinks,
which shows where gradients are as small as epsilon.
"""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HORIZON = 256

FEW = 2048
"""Rows that are settled together."""

LARGE = 2**21
"""Numbers of a table from which putting off pays: 8 MiB."""


def large_tables(model: nn.Module) -> frozenset[int]:
    """Ids of the embedding weights that train, are large, and are read by nothing but a look-up."""
    uses: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    return frozenset(
        id(m.weight)
        for m in model.modules()
        if type(m) is nn.Embedding
        and m.weight.requires_grad
        and m.weight.numel() >= LARGE
        and uses[id(m.weight)] == 1
        and m.max_norm is None
        and not m.scale_grad_by_freq
    )


class RowAdamW(torch.optim.AdamW):
    """Fused AdamW for parameters with dense gradients, the same by rows for those with sparse ones.

    A table's ``seen`` (rows,) is the step up to which each row is right, its ``history`` (steps, 2) holds w_t and the
    logarithm of the decay of every step so far. Call ``about_to_read`` before rows are looked up, and ``settle`` before
    the weights are read as a whole.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One update."""
        sparse = [(p, group) for group in self.param_groups for p in group["params"] if _is_sparse(p)]
        gradients = [p.grad for p, _ in sparse]
        for parameter, _ in sparse:
            parameter.grad = None
        for group in self.param_groups:
            # A table that is trained densely from here on.
            self._settle_all((p for p in group["params"] if p.grad is not None), group, forget=True)
        result = super().step(closure)
        for (parameter, group), gradient in zip(sparse, gradients, strict=True):
            self._step_rows(parameter, group, gradient.coalesce())
            parameter.grad = gradient
        return result

    @torch.no_grad()
    def about_to_read(self, parameter: Tensor, rows: Tensor) -> None:
        """Do what was put off in these rows of a table."""
        state = self.state.get(parameter, {})
        if "seen" in state:
            group = next(g for g in self.param_groups if any(p is parameter for p in g["params"]))
            self._catch_up(parameter, state, group, torch.unique(rows), int(state["step"]))

    @torch.no_grad()
    def settle(self) -> None:
        """Do what was put off, in every row."""
        for group in self.param_groups:
            self._settle_all(group["params"], group, forget=False)

    def _settle_all(self, parameters: Iterable[Tensor], group: dict[str, Any], *, forget: bool) -> None:
        for parameter in parameters:
            state = self.state.get(parameter, {})
            if "seen" not in state:
                continue
            rows = torch.nonzero(state["seen"] < int(state["step"])).flatten()
            # Few at a time: all of them at once would take the memory of several tables.
            for some in torch.split(rows, FEW):
                self._catch_up(parameter, state, group, some, int(state["step"]))
            if forget:
                del state["seen"], state["history"]

    def _step_rows(self, parameter: Tensor, group: dict[str, Any], gradient: Tensor) -> None:
        state = self.state[parameter]
        if "exp_avg" not in state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        if "seen" not in state:
            state["seen"] = torch.full((len(parameter),), int(state["step"]), dtype=torch.int64)
            state["history"] = torch.zeros(int(state["step"]), 2, dtype=torch.float64)
        rows, values = gradient.indices()[0], gradient.values()
        state["step"] += 1
        step, (beta1, beta2), rate = int(state["step"]), group["betas"], float(group["lr"])
        correction = math.sqrt(1 - beta2**step) / (1 - beta1**step)
        decay = 1 - rate * group["weight_decay"]
        told = torch.tensor([[rate * correction, math.log(decay)]], dtype=torch.float64)
        state["history"] = torch.cat([state["history"], told])
        mean = state["exp_avg"][rows].lerp_(values, 1 - beta1)
        square = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(values, values, value=1 - beta2)
        state["exp_avg"][rows], state["exp_avg_sq"][rows], state["seen"][rows] = mean, square, step
        divisor = square.sqrt_().div_(math.sqrt(1 - beta2**step)).add_(group["eps"])
        parameter[rows] = (parameter[rows] * decay).addcdiv_(mean, divisor, value=-rate / (1 - beta1**step))

    def _catch_up(
        self, parameter: Tensor, state: dict[str, Any], group: dict[str, Any], rows: Tensor, until: int
    ) -> None:
        """Bring rows up to the end of step ``until``."""
        seen = state["seen"][rows]
        if not len(rows) or int(seen.min()) == until:
            return
        beta1, beta2 = group["betas"]
        since = torch.unique(seen)
        drift, decay = _put_off(state["history"].numpy(), since.numpy(), until, beta1 / math.sqrt(beta2))
        place = torch.searchsorted(since, seen)
        missed = (until - seen).to(parameter.dtype)[:, None]
        mean, square = state["exp_avg"][rows], state["exp_avg_sq"][rows]
        values = parameter[rows] * torch.from_numpy(decay)[place].to(parameter.dtype)[:, None]
        factor = torch.from_numpy(drift)[place].to(parameter.dtype)[:, None]
        epsilon = group["eps"] * (1 - beta2 ** (seen + 1).to(parameter.dtype)).sqrt_()[:, None]
        parameter[rows] = values.sub_(factor * mean / square.sqrt().add_(epsilon))
        state["exp_avg"][rows] = mean * beta1**missed
        state["exp_avg_sq"][rows] = square * beta2**missed
        state["seen"][rows] = until


def _put_off(history: np.ndarray, since: np.ndarray, until: int, rho: float) -> tuple[np.ndarray, np.ndarray]:
    """For rows that are right up to step ``since``: the sum of w_(since+j) rho^j up to ``until``, and the decay."""
    ahead = np.arange(1, HORIZON + 1)
    steps = since[:, None] + ahead
    logarithms = np.concatenate([[0.0], np.cumsum(history[:until, 1])])
    reached = np.minimum(steps, until)
    # An update decays in the steps after its own.
    weights = history[reached - 1, 0] * np.exp(logarithms[until] - logarithms[reached]) * (steps <= until)
    # Not a product of matrices, which adds up in another order where there are other rows beside a row: several
    # processes do the same rows in other company, and must come to the same bits.
    return (weights * rho**ahead).sum(axis=1), np.exp(logarithms[until] - logarithms[since])


def _is_sparse(parameter: Tensor) -> bool:
    return parameter.grad is not None and parameter.grad.is_sparse
