"""Runs a model without its frozen beginning, on any architecture.

The model's own ``forward`` runs with its real inputs; only the modules that are frozen and finished before the first
trained one begins do not compute. What such a module returns instead is, tensor by tensor:

    stored     what it returned for these rows before, where something behind the frozen modules reads it
    passed     one of its own inputs, where it returned that very tensor (T5 hands its position bias on like this)
    empty      NaN of the right shape, where nothing reads it: should anything read it after all, the loss tells

A module whose outputs are none of these runs as ever, or its children are looked at one by one. Which is which, the
sister module ``cut`` finds. Knows no architecture, no method and no task.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

# A blank is one number seen many times, and some models write into what nobody reads. Not around each replay: leaving
# such a context lets every other warning be told anew.
warnings.filterwarnings("ignore", message="Use of .* on expanded tensors is deprecated")

Axis: TypeAlias = Literal["rows", "length"] | int
"""What an axis of a tensor is as long as: the batch's rows B, its longest row T, or always the same."""

Call: TypeAlias = tuple[str, int]
"""A module's name, and how many calls of it came before in this forward."""

Reads: TypeAlias = Literal["all", "first", "last"]
"""Which positions of a stored tensor (B, T, ...) the rest of the model reads."""


class NoCutError(Exception):
    """Nothing of this model can be computed once and for all; says why."""


@dataclass(frozen=True)
class Form:
    """Shape of a tensor, whatever the batch."""

    axes: tuple[Axis, ...]
    dtype: torch.dtype
    layout: tuple[int, ...] = ()
    """The axes as they lie in memory, the one with the largest stride first; empty is the order that they have.
    Sums over a tensor, those of gradients too, round by its layout."""
    parts: int = 1
    """How many places of the first axis belong to one row, such as the patches of a clip, one after the other."""

    def shape(self, rows: int, length: int) -> tuple[int, ...]:
        """The shape in a batch of ``rows`` rows, the longest of ``length`` tokens."""
        sizes = {"rows": rows * self.parts, "length": length}
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.axes)

    @property
    def by_row(self) -> bool:
        """True where every row has its own part of the tensor, (B, ...), (B, T, ...) or several of a fixed size."""
        inner = self.axes[2:] if self.parts == 1 else self.axes[1:]
        return self.axes[:1] == ("rows",) and all(isinstance(axis, int) for axis in inner)


@dataclass(frozen=True)
class Output:
    """One leaf of what a module returns, and where it comes from in a replay."""

    kind: Literal["stored", "passed", "empty", "constant"]
    form: Form | None = None
    position: int = -1
    """Of a stored leaf among all stored ones; of a passed one among the module's flattened arguments."""
    constant: object = None


@dataclass(frozen=True)
class Plan:
    """What one call of a frozen module returns in a replay."""

    spec: TreeSpec
    outputs: tuple[Output, ...]


class Prefix:
    """The frozen beginning of a model: computes what is worth storing, and runs the rest of the model on it."""

    def __init__(
        self, model: nn.Module, plans: Mapping[Call, Plan], stored: tuple[Form, ...], reads: Reads, share: float
    ) -> None:
        self.model = model
        self.plans = plans
        self.stored = stored
        """Forms of the stored tensors; (B, 1, ...) where only one position is read."""
        self.reads: Reads = reads
        self.share = share
        """Share of a forward pass, in floating-point operations, that a replay saves."""
        self._modules = {name: model.get_submodule(name) for name, _ in plans}
        self._where = {
            output.position: (call, leaf)
            for call, plan in plans.items()
            for leaf, output in enumerate(plan.outputs)
            if output.kind == "stored"
        }

    @property
    def modules(self) -> list[str]:
        """Names of the modules that a replay leaves out."""
        return list(self._modules)

    @property
    def sources(self) -> list[tuple[str, int, int]]:
        """Module, call and position among its outputs of every stored tensor, in order."""
        return [(*self._where[i][0], self._where[i][1]) for i in range(len(self.stored))]

    def outputs(self, inputs: Mapping[str, Tensor], lengths: np.ndarray) -> list[Tensor]:
        """The tensors to store for a batch; nothing behind the last of them is computed.

        Raises NoCutError where this batch does not go the way of those that the frozen beginning was found with.
        """
        values: dict[int, Tensor] = {}

        def catch(call: Call, compute: Callable[[], Any], _: list[object]) -> Any:
            result = compute()
            leaves = tree_flatten(result)[0]
            for position, (owner, leaf) in self._where.items():
                if owner == call:
                    values[position] = leaves[leaf].detach().clone()
            if len(values) == len(self._where):
                raise _Enough
            return result

        try:
            with swapped(self._modules, catch):
                self.model(**inputs)
        except _Enough:
            pass
        rows, length = len(lengths), int(lengths.max())
        for position, (call, leaf) in self._where.items():
            form = self.plans[call].outputs[leaf].form
            assert form is not None
            if position not in values or tuple(values[position].shape) != form.shape(rows, length):
                raise NoCutError(f"rows of {length} tokens go another way through the frozen layers than shorter ones")
        return [at(values[position], self.reads, lengths) for position in range(len(values))]

    def replay(self, inputs: Mapping[str, Tensor], lengths: np.ndarray, values: Sequence[Tensor]) -> Any:
        """The model's outputs for a batch whose stored tensors are ``values``."""
        rows, length = len(lengths), int(lengths.max())
        if self.reads != "all":
            inputs = {
                name: at(value, self.reads, lengths) if value.shape[1:2] == (length,) else value
                for name, value in inputs.items()
            }
            length = 1

        def answer(call: Call, compute: Callable[[], Any], arguments: list[object]) -> Any:
            plan = self.plans.get(call)
            if plan is None:
                return compute()
            return tree_unflatten([_leaf(o, arguments, values, rows, length) for o in plan.outputs], plan.spec)

        with swapped(self._modules, answer):
            return self.model(**inputs)


class _Enough(Exception):  # noqa: N818
    """Ends a forward pass where the rest of it is not wanted."""


def _leaf(output: Output, arguments: list[object], values: Sequence[Tensor], rows: int, length: int) -> object:
    if output.kind == "stored":
        return _laid_out(values[output.position], output.form.layout if output.form else ())
    if output.kind == "passed":
        return arguments[output.position]
    if output.form is None:
        return output.constant
    blank = torch.full((), torch.nan if output.form.dtype.is_floating_point else 0, dtype=output.form.dtype)
    device = next((a.device for a in arguments if isinstance(a, Tensor)), blank.device)
    return blank.to(device).expand(output.form.shape(rows, length))


def _laid_out(value: Tensor, layout: tuple[int, ...]) -> Tensor:
    if not layout:
        return value
    return value.permute(layout).contiguous().permute([layout.index(axis) for axis in range(len(layout))])


def at(values: Tensor, reads: Reads, lengths: np.ndarray) -> Tensor:
    """(B, T, ...) at the position that is read, (B, 1, ...)."""
    if reads == "all":
        return values
    if reads == "first":
        return values[:, :1].contiguous()
    rows = torch.arange(len(lengths), device=values.device)
    return values[rows, torch.from_numpy(lengths - 1).to(values.device)].unsqueeze(1)


@contextmanager
def swapped(
    modules: Mapping[str, nn.Module], answer: Callable[[Call, Callable[[], Any], list[object]], Any]
) -> Iterator[None]:
    """Meanwhile ``answer`` says what calls of these modules return, but for calls inside of one another."""
    counts: Counter[str] = Counter()
    inside = False

    def forward_of(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return original(*args, **kwargs)
            call = (name, counts[name])
            counts[name] += 1
            inside = True
            try:
                return answer(call, lambda: original(*args, **kwargs), tree_flatten((args, kwargs))[0])
            finally:
                inside = False

        return forward

    # A module that stands in several places is swapped under the first of its names.
    once = {module: name for name, module in reversed(list(modules.items()))}
    before: dict[str, Callable[..., Any] | None] = {name: vars(m).get("forward") for m, name in once.items()}
    for module, name in once.items():
        module.forward = forward_of(name, module.forward)
    try:
        yield
    finally:
        for module, name in once.items():
            own = before[name]
            if own is None:
                del module.forward
            else:
                module.forward = own
