"""The loss of a language model without its logits: the last layer is left out, and read in pieces where it is needed.

Logits (B, T, V) of a vocabulary of V = 150,000 tokens take 600 KB for each token, their gradient as much again. Here
the model returns what its last layer reads, (B, T, D), and ``learned`` computes logits for some tokens at a
time, with the gradients of both sides in the same pass, so that no more than ``AT_ONCE`` of them ever exist. Tokens
from which nothing is learned have none. (After the chunked losses of Wijmans et al. 2024, "Cut Your Losses in
Large-Vocabulary Language Models", arXiv 2411.09009.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whet.core import Batch
from whet.model.parts import has_decoder, language_head, without_keys_and_values

AT_ONCE = 2**23
"""Logits that exist at a time: 32 MB."""

HEAD = "head"
"""Name among the outputs of the layer that is still to be applied to ``logits``."""


class Learned(NamedTuple):
    """What a model makes of the P tokens of a batch that are learned."""

    total: Tensor
    """The sum of the losses, which has a gradient."""
    losses: Tensor
    """(P,) loss of each token."""
    hits: Tensor
    """(P,) whether the most probable token is the right one."""
    rows: Tensor
    """(P,) row of each token."""

    def by_row(self, count: int) -> np.ndarray:
        """(B, 3) sum of the losses, tokens, and tokens guessed right, of each row."""
        told = (self.losses.double(), torch.ones_like(self.losses, dtype=torch.float64), self.hits.double())
        sums = [torch.bincount(self.rows, weights=one, minlength=count) for one in told]
        return torch.stack(sums, dim=1).cpu().numpy()


@contextmanager
def without_logits(model: nn.Module) -> Iterator[None]:
    """Meanwhile ``logits`` among the outputs are what the last layer reads, and ``head`` is that layer.

    A model whose last layer is not a plain one, or whose logits are changed behind it (capped or scaled), returns
    them as ever. Keys and values are not kept either: nobody writes texts meanwhile.
    """
    head = language_head(model)
    with without_keys_and_values(model):
        # Of a context around this one the layer is left out already.
        if type(head) is not nn.Linear or "forward" in vars(head) or not _ends_with(model, head):
            yield
            return
        with _left_out(model, head):
            yield


def learned(outputs: Mapping[str, Any], batch: Batch, ahead: int = 1) -> Learned:
    """The loss of every token of a batch that has a target, by the outputs for the token so many before it.

    A decoder that reads what it writes looks one ahead; where its input is shifted already, none.
    """
    assert batch.targets is not None
    logits, head = outputs["logits"], outputs.get(HEAD)
    rows, positions = (batch.targets[:, ahead:] >= 0).nonzero(as_tuple=True)
    # Virtual tokens may stand before those of the batch.
    virtual = logits.shape[1] - batch.targets.shape[1]
    chosen, targets = logits[rows, positions + virtual], batch.targets[rows, positions + ahead]
    if head is None:
        losses = functional.cross_entropy(chosen.float(), targets, reduction="none")
        return Learned(losses.sum(), losses.detach(), chosen.argmax(-1) == targets, rows)
    total, losses, hits = _Chunked.apply(chosen, head.weight, head.bias, targets)  # type: ignore[no-untyped-call]
    return Learned(total, losses, hits, rows)


def loss_of_all(outputs: Mapping[str, Any], targets: Tensor) -> Tensor:
    """The sum of the losses of P tokens (P,), the first of the batch, by the way that ``learned`` takes."""
    hidden, head = outputs["logits"].flatten(0, -2)[: len(targets)], outputs.get(HEAD)
    if head is None:
        return functional.cross_entropy(hidden.float(), targets, reduction="sum")
    total: Tensor = _Chunked.apply(hidden, head.weight, head.bias, targets)[0]  # type: ignore[no-untyped-call]
    return total


@contextmanager
def _left_out(model: nn.Module, head: nn.Linear) -> Iterator[None]:
    whole = model.forward

    def forward(*arguments: Any, **named: Any) -> Any:
        outputs = whole(*arguments, **named)
        outputs[HEAD] = head
        return outputs

    head.forward = _unchanged  # type: ignore[method-assign, assignment]
    model.forward = forward
    try:
        yield
    finally:
        # Both are found on their classes again.
        del head.forward, model.forward


def _unchanged(hidden: Tensor) -> Tensor:
    return hidden


def _ends_with(model: nn.Module, head: nn.Linear) -> bool:
    """Are the logits the very output of this layer? A model without weights cannot be tried; nearly all are so."""
    if head.weight.is_meta:
        return True
    returned: list[Tensor] = []
    hook = head.register_forward_hook(lambda _, __, output: returned.append(output))
    tokens = torch.zeros(1, 2, dtype=torch.int64, device=head.weight.device)
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            more = {"decoder_input_ids": tokens} if has_decoder(model) else {}
            logits = model.eval()(input_ids=tokens, attention_mask=torch.ones_like(tokens), **more).logits
    finally:
        hook.remove()
        for module, mode in modes.items():
            module.training = mode
    return len(returned) == 1 and logits.data_ptr() == returned[0].data_ptr() and torch.equal(logits, returned[0])


class _Chunked(torch.autograd.Function):
    """Sum of the cross-entropies of h W' (P, V) with h (P, D) and W (V, D)."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients = [
            torch.zeros_like(tensor) if tensor is not None and tensor.requires_grad else None
            for tensor in (hidden, weight, bias)
        ]
        losses, hits = torch.empty(len(targets), device=hidden.device), torch.empty_like(targets, dtype=torch.bool)
        size = max(1, AT_ONCE // len(weight))
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            logits = functional.linear(hidden[part], weight, bias).float()
            right = targets[part, None]
            normaliser = logits.logsumexp(-1, keepdim=True)
            losses[part] = (normaliser - logits.gather(1, right)).squeeze(1)
            hits[part] = logits.argmax(-1) == targets[part]
            if any(gradient is not None for gradient in gradients):
                # dLoss/dlogits: what is predicted, less one for the right token.
                error = logits.sub_(normaliser).exp_()
                error.scatter_add_(1, right, error.new_full(right.shape, -1.0))
                _add(gradients, part, error, hidden[part], weight)
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(losses, hits)
        return losses.sum(), losses, hits

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None if saved is None else saved * outer[0] for saved in ctx.saved_tensors), None)


def _add(gradients: list[Tensor | None], part: slice, error: Tensor, hidden: Tensor, weight: Tensor) -> None:
    """Add what some tokens give to the gradients of h, W and the bias, of those that are wanted."""
    of_hidden, of_weight, of_bias = gradients
    if of_hidden is not None:
        of_hidden[part] = error.to(weight.dtype) @ weight
    if of_weight is not None:
        of_weight += (error.T.to(hidden.dtype) @ hidden).to(of_weight.dtype)
    if of_bias is not None:
        of_bias += error.sum(0)
