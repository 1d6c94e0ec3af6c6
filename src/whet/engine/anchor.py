"""The pre-trained weights, kept beside those that train.

L2-SP      decay towards them instead of towards zero (Li et al. 2018, arXiv 1802.01483)
WiSE-FT    mixes with them after the run (Wortsman et al. 2022, arXiv 2109.01903)
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from whet.core import Mask


class Anchor:
    """Weights as they were when the run began; takes the memory of what trains once more."""

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        """``mask`` names the parameters that are kept; the model still has the weights that it began with."""
        self._began = {id(p): p.detach().clone() for name, p in model.named_parameters() if name in mask}

    @torch.no_grad()
    def pull(self, optimizer: torch.optim.Optimizer, strength: float) -> None:
        """w <- w - learning_rate * strength * (w - w_0), after a step of the optimizer at the rate of each group.

        Decoupled from the gradient like AdamW's weight decay, which has no part in these weights.
        """
        for group in optimizer.param_groups:
            held: list[Tensor] = [p for p in group["params"] if id(p) in self._began]
            if held:
                began = [self._began[id(p)] for p in held]
                torch._foreach_lerp_(held, began, min(1.0, float(group["lr"]) * strength))

    def trained(self, model: nn.Module) -> dict[int, Tensor]:
        """Copies of the same weights as they are now."""
        return {id(p): p.detach().clone() for p in model.parameters() if id(p) in self._began}

    @torch.no_grad()
    def mix(self, model: nn.Module, trained: Mapping[int, Tensor], share: float) -> None:
        """w <- (1 - share) * w_0 + share * w_trained; with a share of 1 the very weights that were trained."""
        for parameter in model.parameters():
            if id(parameter) in trained:
                parameter.copy_(torch.lerp(self._began[id(parameter)], trained[id(parameter)], share))
