"""Parameter groups and the optimiser: who learns how fast, and who decays.

Biases and norms, which are all the parameters of one dimension, have no weight decay. With a layer decay below 1 a
parameter at depth d of L blocks learns at ``learning_rate * layer_decay ** (L + 1 - d)``: the head at the full
rate, the stem slowest (Howard and Ruder 2018, arXiv 1801.06146; Clark et al. 2020, arXiv 2003.10555).
"""

from collections import defaultdict
from typing import Any

import torch
from torch import nn

from whet.core import Mask, Parts
from whet.engine.job import Settings
from whet.engine.schedule import Pace

BETA2 = 0.999


def parameter_groups(model: nn.Module, parts: Parts, mask: Mask, settings: Settings) -> list[dict[str, Any]]:
    """Groups for the optimiser: parameters that share learning-rate scale and weight decay.

    Each has ``params``, ``names``, ``weight_decay`` and ``scale``, the factor on the learning rate.
    """
    groups: defaultdict[tuple[float, float], dict[str, Any]] = defaultdict(lambda: {"params": [], "names": []})
    top = len(parts.blocks) + 1
    for name, parameter in model.named_parameters():
        if name not in mask:
            continue
        scale = settings.layer_decay ** (top - parts.depth(name)) if settings.layer_decay < 1 else 1.0
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        group = groups[scale, decay]
        group["params"].append(parameter)
        group["names"].append(name)
    return [
        {**group, "scale": scale, "weight_decay": decay}
        for (scale, decay), group in sorted(groups.items(), reverse=True)
    ]


def build_optimizer(groups: list[dict[str, Any]], settings: Settings) -> torch.optim.Optimizer:
    """Fused AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) or fused SGD with Nesterov momentum."""
    plain = [{key: value for key, value in group.items() if key != "names"} for group in groups]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(
            plain, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov, fused=True
        )
    return torch.optim.AdamW(plain, lr=settings.learning_rate, betas=(0.9, BETA2), fused=True)


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
