"""The mean of the weights at several of the last steps: stochastic weight averaging.

Izmailov et al. 2018, "Averaging Weights Leads to Wider Optima and Better Generalization" (arXiv 1803.05407). The mean
moves by w_mean <- w_mean + (w - w_mean) / n with the n-th weights that are taken.
"""

import math

from torch import nn

from whet.core import Mask
from whet.engine import state

TAKES = 20
"""How often weights are taken at most: updates that were put off are made first, which has its price."""


class Average:
    """A running mean of what trains, and of running statistics; takes the memory of both once more."""

    def __init__(self, mask: Mask, share: float, steps: int) -> None:
        """``share`` is that of the run's ``steps``, at its end, over which the mean is taken."""
        self._mask = mask
        last = max(1, round(share * steps))
        takes = min(TAKES, last)
        self._at = sorted({steps - last + math.ceil(last * (k + 1) / takes) for k in range(takes)})
        self.mean: state.Tensors = {}

    def due(self, step: int) -> bool:
        """Whether the weights after this step are taken."""
        return step in self._at

    def count(self, step: int) -> int:
        """How many weights were taken up to this step."""
        return sum(at <= step for at in self._at)

    def take(self, model: nn.Module, step: int) -> None:
        """Let the weights as they are count in the mean."""
        now, count = state.live_weights(model, self._mask), self.count(step)
        if not self.mean:
            self.mean = {name: tensor.clone() for name, tensor in now.items()}
            return
        for name, mean in self.mean.items():
            if mean.is_floating_point():
                mean.lerp_(now[name], 1 / count)
            else:
                mean.copy_(now[name])

    def put(self, model: nn.Module) -> None:
        """Give the model the mean."""
        state.restore_weights(model, self._mask, self.mean)
