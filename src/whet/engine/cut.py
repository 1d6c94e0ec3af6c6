"""Finds where a model's frozen beginning ends, by trying, and proves that the rest gives the same answers without it.

Every outermost module in which nothing trains and nothing is random, and that is finished before the first trained one
begins, is a candidate. Two small batches that differ in their number of rows and in their longest row tell which axis
of a returned tensor is which; blanking out one tensor after the other tells which of them the rest of the model reads.
The proof: equal outputs, bit for bit, in the modes of training and of evaluation, with zeros in place of padding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten
from torch.utils.flop_counter import FlopCounterMode

from whet.core import Mask
from whet.engine.replay import Axis, Call, Form, NoCutError, Output, Plan, Prefix, Reads, at, swapped

_FAILURES = (RuntimeError, ValueError, IndexError, TypeError, AttributeError, KeyError, AssertionError)
"""How a model that is given a tensor of another shape may answer."""


@dataclass(frozen=True)
class Probe:
    """A small batch to try things on."""

    inputs: Mapping[str, Tensor]
    lengths: np.ndarray
    """(B,) tokens of each row."""
    observe: Callable[[Any], list[Tensor]]
    """The model's outputs as the task reads them; equal tensors mean an equal run."""


@dataclass(frozen=True)
class _Recorded:
    """What one call of a frozen module got and returned."""

    call: Call
    arguments: list[object]
    leaves: list[object]
    spec: TreeSpec
    copies: list[object]
    """The leaves as they were returned: what follows may change them in place."""
    flops: int


def find_prefix(model: nn.Module, mask: Mask, probes: tuple[Probe, Probe]) -> Prefix:
    """The frozen beginning of a model in which ``mask`` trains; its modules are in the modes of training.

    The two probes differ in their number of rows, and in their longest row wherever rows differ in length. Raises
    NoCutError where nothing is frozen before the first trained module, or where leaving it out changes the outputs.
    """
    if [len(probe.lengths) for probe in probes] != sorted({len(probe.lengths) for probe in probes}):
        raise ValueError("the second probe needs more rows than the first")
    # By identity: a tied parameter has several names, and the mask knows one of them.
    trained = {id(parameter) for name, parameter in model.named_parameters() if name in mask}
    opened: set[str] = set()
    with torch.no_grad(), _stirred(model, mask):
        expected = [_observe(model, probe) for probe in probes]
        while True:
            units = dict(_units(model, "", trained, opened))
            if not units:
                raise NoCutError("nothing is frozen before the first layer that trains")
            (first, total), (second, _) = (_record(model, units, trained, probe) for probe in probes)
            if [r.call for r in first] != [r.call for r in second]:
                raise NoCutError("the model takes another way through its layers from batch to batch")
            drafts = {a.call: _draft(a, b, probes) for a, b in zip(first, second, strict=True)}
            unclear = {call[0] for call, draft in drafts.items() if draft is None}
            if not unclear:
                plans = {call: draft for call, draft in drafts.items() if draft is not None}
                needed = _needed(model, plans, first, probes[0], expected[0])
                unclear = {call[0] for call, leaf in needed if not _can_store(plans[call].outputs[leaf])}
            if not unclear:
                break
            opened |= unclear
        prefix = _assign(model, plans, needed, share=sum(r.flops for r in first) / max(1, total))
        values = [_values(run, prefix, probe) for run, probe in zip((first, second), probes, strict=True)]
        if not _proved(prefix, probes, values):
            raise NoCutError("the model's answers change when its frozen layers are left out")
        return _narrowest(prefix, probes, values)


def _units(module: nn.Module, name: str, trained: set[int], opened: set[str]) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules in which nothing trains and nothing is random, but those that were opened."""
    for child_name, child in module.named_children():
        full = f"{name}.{child_name}" if name else child_name
        frozen = not any(m.training for m in child.modules()) and trained.isdisjoint(map(id, child.parameters()))
        if frozen and full not in opened and not isinstance(child, nn.ModuleList | nn.ModuleDict):
            yield full, child
        else:
            yield from _units(child, full, trained, opened)


def _record(
    model: nn.Module, units: Mapping[str, nn.Module], trained: set[int], probe: Probe
) -> tuple[list[_Recorded], int]:
    """What the frozen modules return before the first trained one begins, and the operations of the whole pass."""
    recorded: list[_Recorded] = []
    begun = False

    def begin(*_: object) -> None:
        nonlocal begun
        begun = True

    def note(call: Call, compute: Callable[[], Any], arguments: list[object]) -> Any:
        before = counter.get_total_flops()
        result = compute()
        if not begun:
            leaves, spec = tree_flatten(result)
            copies = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
            flops = counter.get_total_flops() - before
            recorded.append(_Recorded(call, arguments, leaves, spec, copies, flops))
        return result

    starts = [m for m in model.modules() if m.training or any(id(p) in trained for p in m.parameters(recurse=False))]
    hooks = [module.register_forward_pre_hook(begin) for module in starts]
    try:
        with FlopCounterMode(display=False) as counter, swapped(units, note), _unmoved(model), torch.random.fork_rng():
            torch.manual_seed(0)
            model(**probe.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return recorded, counter.get_total_flops()


def _draft(first: _Recorded, second: _Recorded, probes: tuple[Probe, Probe]) -> Plan | None:
    """A plan in which nothing is stored yet; None where the outputs cannot be told from rows and length alone."""
    if first.spec != second.spec:
        return None
    outputs = []
    for a, b in zip(first.leaves, second.leaves, strict=True):
        passed = _index_of(a, first.arguments)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            form = _form(a, b, probes)
            if passed is not None and passed == _index_of(b, second.arguments):
                outputs.append(Output("passed", form, passed))
            elif form is not None:
                outputs.append(Output("empty", form))
            else:
                return None
        elif isinstance(a, bool | int | float | str | None) and a == b:
            outputs.append(Output("constant", constant=a))
        else:
            return None
    return Plan(first.spec, tuple(outputs))


def _form(a: Tensor, b: Tensor, probes: tuple[Probe, Probe]) -> Form | None:
    rows = tuple(len(probe.lengths) for probe in probes)
    lengths = tuple(int(probe.lengths.max()) for probe in probes)
    if a.ndim != b.ndim or a.dtype != b.dtype:
        return None
    axes: list[Axis] = []
    parts = _parts(a, b, rows)
    for position, sizes in enumerate(zip(a.shape, b.shape, strict=True)):
        if position == 0 and parts:
            axes.append("rows")
        elif sizes[0] == sizes[1]:
            axes.append(sizes[0])
        elif sizes == lengths:
            axes.append("length")
        else:
            return None
    # Of the larger batch, where fewer axes are of length 1.
    strides = b.stride()
    by_stride = sorted(range(b.ndim), key=lambda axis: -strides[axis])
    return Form(tuple(axes), a.dtype, () if b.is_contiguous() else tuple(by_stride), max(1, parts))


def _parts(a: Tensor, b: Tensor, rows: tuple[int, ...]) -> int:
    """How many places of the first axis belong to one row; 0 where they belong to none."""
    sizes = (len(a), len(b)) if a.ndim else (0, 0)
    parts = sizes[0] // rows[0]
    return parts if sizes == tuple(parts * count for count in rows) else 0


def _index_of(tensor: object, arguments: Sequence[object]) -> int | None:
    if not isinstance(tensor, Tensor):
        return None
    return next((i for i, argument in enumerate(arguments) if argument is tensor), None)


def _can_store(output: Output) -> bool:
    return output.kind == "passed" or (output.form is not None and output.form.by_row)


def _needed(
    model: nn.Module, plans: Mapping[Call, Plan], run: list[_Recorded], probe: Probe, expected: list[Tensor]
) -> set[tuple[Call, int]]:
    """The tensors that something behind the frozen modules reads: without them the answers change."""
    recorded = {r.call: r for r in run}
    if not _same_without(None, model, plans, recorded, probe, expected):
        raise NoCutError("the model's answers change when its frozen layers return what they returned before")
    needed: set[tuple[Call, int]] = set()
    for call, plan in plans.items():
        for leaf, output in enumerate(plan.outputs):
            if output.form is None:
                continue
            blankable = output.form.dtype.is_floating_point
            if not blankable or not _same_without((call, leaf), model, plans, recorded, probe, expected):
                needed.add((call, leaf))
    for call, leaf in list(needed):
        if plans[call].outputs[leaf].kind == "passed":
            # What hands a tensor on needs the module that made it.
            tensor = recorded[call].leaves[leaf]
            maker = next(((r.call, i) for r in run if (i := _index_of(tensor, r.leaves)) is not None), None)
            if maker is not None:
                needed.add(maker)
    return needed


def _same_without(
    blank: tuple[Call, int] | None,
    model: nn.Module,
    plans: Mapping[Call, Plan],
    recorded: Mapping[Call, _Recorded],
    probe: Probe,
    expected: list[Tensor],
) -> bool:
    """Are the answers the same when the frozen modules return what was recorded, but for one tensor of NaN?"""

    def answer(call: Call, compute: Callable[[], Any], arguments: list[object]) -> Any:
        if call not in recorded:
            return compute()
        copies = [copy.clone() if isinstance(copy, Tensor) else copy for copy in recorded[call].copies]
        for leaf, output in enumerate(plans[call].outputs):
            if output.kind == "passed":
                # As in a replay: what was recorded would hide a blank that comes from further ahead.
                copies[leaf] = arguments[output.position]
        if blank is not None and blank[0] == call:
            whole = copies[blank[1]]
            assert isinstance(whole, Tensor)
            copies[blank[1]] = torch.full_like(whole, torch.nan)
        return tree_unflatten(copies, recorded[call].spec)

    try:
        with swapped({name: model.get_submodule(name) for name, _ in recorded}, answer):
            return _equal(_observe(model, probe), expected)
    except _FAILURES:
        return False


def _assign(model: nn.Module, plans: Mapping[Call, Plan], needed: set[tuple[Call, int]], share: float) -> Prefix:
    stored: list[Form] = []
    assigned: dict[Call, Plan] = {}
    for call, plan in plans.items():
        outputs = list(plan.outputs)
        for leaf, output in enumerate(outputs):
            if (call, leaf) in needed and output.kind == "empty":
                assert output.form is not None
                outputs[leaf] = replace(output, kind="stored", position=len(stored))
                stored.append(output.form)
        assigned[call] = Plan(plan.spec, tuple(outputs))
    if not stored:
        raise NoCutError("nothing that trains reads what the frozen layers return")
    return Prefix(model, assigned, tuple(stored), "all", share)


def _narrowest(prefix: Prefix, probes: tuple[Probe, Probe], values: list[list[Tensor]]) -> Prefix:
    """The same prefix, storing a single position of each row where the rest of the model reads no other."""
    form = prefix.stored[0]
    if len(prefix.stored) > 1 or len(form.axes) < 3 or form.axes[1] == 1 or form.parts > 1:
        return prefix
    tries: tuple[Reads, ...] = ("first", "last") if form.axes[1] == "length" else ("first",)
    for reads in tries:
        narrow = Form((form.axes[0], 1, *form.axes[2:]), form.dtype)
        candidate = Prefix(prefix.model, prefix.plans, (narrow,), reads, prefix.share)
        narrowed = [[at(v, reads, p.lengths) for v in vs] for vs, p in zip(values, probes, strict=True)]
        if narrow.by_row and "length" not in narrow.axes and _proved(candidate, probes, narrowed):
            return candidate
    return prefix


def _values(run: list[_Recorded], prefix: Prefix, probe: Probe) -> list[Tensor]:
    """What a store would return for a probe: padding is not stored."""
    values = [_copy_at(run, prefix, position) for position in range(len(prefix.stored))]
    padding = torch.from_numpy(np.arange(int(probe.lengths.max())) >= probe.lengths[:, None])
    for form, value in zip(prefix.stored, values, strict=True):
        if "length" in form.axes:
            value[padding.to(value.device)] = 0
    return values


def _copy_at(run: list[_Recorded], prefix: Prefix, position: int) -> Tensor:
    for recorded in run:
        for leaf, output in enumerate(prefix.plans[recorded.call].outputs):
            if output.kind == "stored" and output.position == position:
                copy = recorded.copies[leaf]
                assert isinstance(copy, Tensor)
                return copy.clone()
    raise AssertionError(f"no stored output has position {position}")


# --- proof ------------------------------------------------------------------------------------------------------


def _proved(prefix: Prefix, probes: tuple[Probe, Probe], values: list[list[Tensor]]) -> bool:
    """Does the replay give the same outputs, bit for bit, in the modes of training and of evaluation?"""
    model = prefix.model
    modes = {module: module.training for module in model.modules()}
    try:
        for training in (True, False):
            if not training:
                model.eval()
            for probe, stored in zip(probes, values, strict=True):
                fresh = [value.clone() for value in stored]
                if not _equal(_observe(model, probe, prefix, fresh), _observe(model, probe)):
                    return False
    except _FAILURES:
        return False
    finally:
        for module, mode in modes.items():
            module.training = mode
    return True


def reads_as_found(prefix: Prefix, probe: Probe, values: Sequence[Tensor]) -> bool:
    """Does the rest of the model read no other position of these rows than the one that ``values`` hold?

    All others are NaN here. GPT-2, say, reads the last token that does not pad, which may stand in a text as well.
    """
    if prefix.reads == "all":
        return True
    ((name, number, leaf),) = prefix.sources
    form = prefix.plans[name, number].outputs[leaf].form
    assert form is not None
    rows = np.arange(len(probe.lengths))
    whole = values[0].new_full(form.shape(len(rows), int(probe.lengths.max())), torch.nan)
    whole[rows, 0 if prefix.reads == "first" else probe.lengths - 1] = values[0][:, 0]
    wide = Prefix(prefix.model, prefix.plans, (form,), "all", prefix.share)
    try:
        return all(bool(seen.isfinite().all()) for seen in _observe(prefix.model, probe, wide, [whole]))
    except _FAILURES:
        return False


def _observe(
    model: nn.Module, probe: Probe, prefix: Prefix | None = None, values: Sequence[Tensor] = ()
) -> list[Tensor]:
    """The outputs as the task reads them; random layers draw the same numbers each time."""
    devices = {tensor.device for tensor in probe.inputs.values() if tensor.device.type == "cuda"}
    with _unmoved(model), torch.random.fork_rng(devices=list(devices)):
        torch.manual_seed(0)
        if prefix is None:
            return probe.observe(model(**probe.inputs))
        return probe.observe(prefix.replay(probe.inputs, probe.lengths, values))


@contextmanager
def _stirred(model: nn.Module, mask: Mask) -> Iterator[None]:
    """Meanwhile no trained parameter is zero: what a zero hides now is read from the first step on."""
    still = [p for name, p in model.named_parameters() if name in mask and not bool(p.any())]
    generator = torch.Generator().manual_seed(0)
    for parameter in still:
        parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    try:
        yield
    finally:
        for parameter in still:
            parameter.zero_()


@contextmanager
def _unmoved(model: nn.Module) -> Iterator[None]:
    """Afterwards the statistics that batch norms keep in training mode, of blanks too, are what they were."""
    kept = [(b, b.clone()) for module in model.modules() if module.training for b in module.buffers(recurse=False)]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def _equal(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
