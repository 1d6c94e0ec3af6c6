"""Weight decay towards the pre-trained weights instead of towards zero: L2-SP (Li et al. 2018, arXiv 1802.01483)."""

import torch
from torch import Tensor, nn

from whet.core import Mask


class Anchor:
    """Holds weights w near where they began, w_0: w <- w - learning_rate * strength * (w - w_0) after each step.

    Decoupled from the gradient like AdamW's weight decay, which has no part in these weights. Takes their memory once
    more.
    """

    def __init__(self, model: nn.Module, mask: Mask, strength: float) -> None:
        """``mask`` names the parameters that are held; the model still has the weights that it began with."""
        self._strength = strength
        self._began = {id(p): p.detach().clone() for name, p in model.named_parameters() if name in mask}

    @torch.no_grad()
    def pull(self, optimizer: torch.optim.Optimizer) -> None:
        """After a step of the optimizer, at the learning rate of each of its groups."""
        for group in optimizer.param_groups:
            held: list[Tensor] = [p for p in group["params"] if id(p) in self._began]
            if held:
                began = [self._began[id(p)] for p in held]
                torch._foreach_lerp_(held, began, min(1.0, float(group["lr"]) * self._strength))
