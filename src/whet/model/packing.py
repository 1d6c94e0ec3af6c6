"""Can texts share a row of a model without seeing each other?"""

from __future__ import annotations

import torch
from torch import nn

from whet.model.parts import longest_input, without_keys_and_values

_FIRST, _SECOND = (5, 9, 7, 3), (4, 8, 6, 11, 2)
"""Token numbers of two texts; any will do."""
CLOSE = 1e-4
"""Largest difference of two logits that is rounding, as a share of the largest logit."""


def keeps_apart(model: nn.Module) -> bool:
    """Does a text get the same logits beside another text as alone, when its positions begin anew?

    Not so where virtual tokens stand before a row, and in models that know no positions. A model without weights is
    taken for one that does.
    """
    longest = longest_input(model)
    if longest is not None and longest < len(_FIRST) + len(_SECOND):
        return False
    device = next(model.parameters()).device
    if device.type == "meta":
        # Nobody can try it; nearly all can.
        return True
    alone = torch.tensor([_SECOND], device=device)
    both = torch.tensor([_FIRST + _SECOND], device=device)
    positions = torch.tensor([[*range(len(_FIRST)), *range(len(_SECOND))]], device=device)
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), without_keys_and_values(model):
            expected = model(input_ids=alone, position_ids=positions[:, len(_FIRST) :]).logits
            found = model(input_ids=both, position_ids=positions).logits[:, -len(_SECOND) :]
    except (TypeError, ValueError, RuntimeError):
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    if found.shape != expected[:, -len(_SECOND) :].shape:
        return False
    return bool((found - expected[:, -len(_SECOND) :]).abs().max() <= CLOSE * expected.abs().max())
