"""Parameter groups and the optimiser: who learns how fast, and who decays.

Biases and norms, which are all the parameters of one dimension, have no weight decay. With a layer decay below 1 a
parameter at depth d of L blocks learns at ``learning_rate * layer_decay ** (L + 1 - d)``: the head at the full
rate, the stem slowest (Howard and Ruder 2018, arXiv 1801.06146; Clark et al. 2020, arXiv 2003.10555). A stage may
name parameters that learn at another rate, or without weight decay, whatever their shape.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from whet.core import Parts, Stage
from whet.engine.job import Settings
from whet.engine.rows import RowAdamW, large_tables
from whet.engine.schedule import Pace

BETA2 = 0.999


def parameter_groups(model: nn.Module, parts: Parts, stage: Stage, settings: Settings) -> list[dict[str, Any]]:
    """Groups for the optimiser: parameters of the stage that share learning-rate scale and weight decay.

    Each has ``params``, ``names``, ``weight_decay`` and ``scale``, the factor on the learning rate.
    """
    groups: defaultdict[tuple[float, float], dict[str, Any]] = defaultdict(lambda: {"params": [], "names": []})
    top = len(parts.blocks) + 1
    for name, parameter in model.named_parameters():
        if name not in stage.mask:
            continue
        depth = settings.layer_decay ** (top - parts.depth(name)) if settings.layer_decay < 1 else 1.0
        scale = depth * stage.rates.get(name, 1.0)
        held = settings.l2_sp is not None and name not in parts.fresh
        decays = parameter.ndim > 1 and name not in stage.undecayed and not held
        decay = settings.weight_decay if decays else 0.0
        group = groups[scale, decay]
        group["params"].append(parameter)
        group["names"].append(name)
    return [
        {**group, "scale": scale, "weight_decay": decay}
        for (scale, decay), group in sorted(groups.items(), reverse=True)
    ]


def build_optimizer(groups: list[dict[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    """Fused AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) or SGD with Nesterov momentum."""
    plain = [{key: value for key, value in group.items() if key != "names"} for group in groups]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(
            plain, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True
        )
    return RowAdamW(plain, lr=settings.learning_rate, betas=(0.9, BETA2), fused=True)


def tables(model: nn.Module, settings: Settings, device: torch.device) -> frozenset[int]:
    """Ids of the embedding weights that are updated by row: large ones, on a CPU, with AdamW of a constant momentum."""
    moves_momentum = settings.schedule["name"] == "one_cycle"
    # With L2-SP every row moves at every step.
    by_row = settings.optimizer == "adamw" and device.type == "cpu" and not moves_momentum and settings.l2_sp is None
    return large_tables(model) if by_row else frozenset()


def clip(parameters: Iterable[nn.Parameter], largest: float | None) -> float:
    """Scale the gradients down to a norm of ``largest`` where it is more; returns the norm before."""
    with_gradients = [p for p in parameters if p.grad is not None]
    for parameter in with_gradients:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
    gradients = [p.grad.values() if p.grad.is_sparse else p.grad for p in with_gradients if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    if largest is not None and norm > largest:
        torch._foreach_mul_(gradients, largest / (norm + 1e-6))
    return norm


def set_pace(optimizer: torch.optim.Optimizer, settings: Settings, stage_scale: float, pace: Pace) -> float:
    """Set the learning rate (and the momentum, where the schedule moves it) of every group; returns the head's rate."""
    rate = settings.learning_rate * stage_scale * pace.rate
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
        if pace.momentum is not None:
            if "betas" in group:
                group["betas"] = (pace.momentum, BETA2)
            else:
                group["momentum"] = pace.momentum
    return rate
