"""One step on tensors without numbers: what it allocates and frees, one tensor after the other, and what it computes.

A model on the meta device gets tensors that pretend to be on the CPU (torch's fake tensors), so everything that torch
decides from shapes and devices is decided as in a real run: casts of autocast, which attention computes, what is
kept for the gradients. No weight is read and nothing is computed. This module knows no method, no task and no machine.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from whet.model.quantise import QuantisedLinear

Kind: TypeAlias = Literal["copies", "activations", "logits", "working", "gradients"]
"""What a tensor is there for: a frozen weight in another precision, what the forward pass makes, what the loss makes,
what the backward pass makes, and gradients of parameters."""

_FUSED = (
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
)
_BACKWARD = 2.5
"""How many times the operations of a fused attention its gradient takes."""


@dataclass
class Traced:
    """What happened."""

    peak: Counter[Kind] = field(default_factory=Counter)
    """Bytes by kind at the highest point, beside what was there before."""
    flops: float = 0.0
    frozen_flops: float = 0.0
    """Of the frozen beginning, whose outputs are read instead where they are stored; not in ``flops``."""
    operations: int = 0
    moved: int = 0
    """Bytes that operations read and write."""
    stored: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    """Shape of what the last frozen module returned, and bytes of a number in it."""

    @property
    def bytes(self) -> int:
        """At the highest point, all together."""
        return sum(self.peak.values())


def along(first: tuple[int, Traced], second: tuple[int, Traced], blocks: int) -> Traced:
    """What a step takes of a model of so many blocks, by two models of the same blocks that have fewer of them.

    Every block adds the same, so what is there at the highest moment and what is computed are lines over their number.
    """
    (few, short), (more, longer) = first, second
    share = (blocks - few) / (more - few)

    def line(a: float, b: float) -> float:
        return max(0.0, a + share * (b - a))

    kinds = {*short.peak, *longer.peak}
    return Traced(
        Counter({kind: round(line(short.peak[kind], longer.peak[kind])) for kind in kinds}),
        line(short.flops, longer.flops),
        line(short.frozen_flops, longer.frozen_flops),
        round(line(short.operations, longer.operations)),
        round(line(short.moved, longer.moved)),
        longer.stored,
    )


# --- pretending ---------------------------------------------------------------------------------------------------


@contextmanager
def pretending(model: nn.Module) -> Iterator[FakeTensorMode]:
    """Meanwhile a model on the meta device seems to be on the CPU, and whatever is made is not there either."""
    made: dict[int, Tensor] = {}
    swapped: list[tuple[dict[str, Any], str, Tensor]] = []
    # What a method holds outside of the model, such as numbers of virtual tokens, may be real.
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, ExitStack() as stack:
        for module in model.modules():
            places: tuple[dict[str, Any], dict[str, Any]] = (module._parameters, module._buffers)
            for held in places:
                for name, tensor in held.items():
                    if tensor is None:
                        continue
                    if id(tensor) not in made:
                        made[id(tensor)] = _pretended(tensor)
                    swapped.append((held, name, tensor))
                    held[name] = made[id(tensor)]
            if isinstance(module, QuantisedLinear):
                stack.callback(_unset, module)
                module.forward = partial(_packed_product, module)  # type: ignore[method-assign]
        try:
            yield mode
        finally:
            for held, name, tensor in swapped:
                held[name] = tensor


def _pretended(tensor: Tensor) -> Tensor:
    fake = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device="cpu")
    return nn.Parameter(fake, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else fake


def _unset(module: nn.Module) -> None:
    del module.forward


def _packed_product(layer: QuantisedLinear, values: Tensor) -> Tensor:
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else values.dtype
    product: Tensor = _PackedProduct.apply(values.to(dtype), layer.in_features, layer.out_features)  # type: ignore[no-untyped-call]
    return product


class _PackedProduct(torch.autograd.Function):
    """A product with a weight in 4 bits, which is made whole in room that is there already."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, width_in: int, width_out: int) -> Tensor:
        ctx.width = width_in
        # A product of the true size, for who counts operations.
        weight = values.new_empty(1).expand(width_in, width_out)
        return values.flatten(0, -2).mm(weight).view(*values.shape[:-1], width_out)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        weight = gradient.new_empty(1).expand(gradient.shape[-1], ctx.width)
        return gradient.flatten(0, -2).mm(weight).view(*gradient.shape[:-1], ctx.width), None, None


# --- recording ----------------------------------------------------------------------------------------------------


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every tensor from its first operation to its end."""

    def __init__(self, known: Sequence[Tensor]) -> None:
        """``known`` tensors were there before and count for nothing."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.traced = Traced()
        self.kind: Kind = "activations"
        """What is made from now on."""
        self.hidden = 0
        """More than 0 while nothing counts, because it is stored: the modules that have begun and not ended."""
        self._live: dict[int, tuple[weakref.ref[Any], int, Kind]] = {}
        self._now: Counter[Kind] = Counter()
        self._total = 0
        self._known = {id(tensor.untyped_storage()) for tensor in known}
        # Their identities hold as long as they live.
        self._kept = [tensor.untyped_storage() for tensor in known]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        for tensor in made:
            self._note(tensor)
        if not func.is_view:
            self._count(func, args, kwargs or {}, result, made)
        return result

    def is_gradient(self, parameter: Tensor) -> None:
        """From now on what a parameter has as its gradient counts as one."""
        # One that is made of rows that were read is not pretended.
        key = None if parameter.grad is None else id(parameter.grad.untyped_storage())
        if key in self._live:
            reference, size, kind = self._live[key]
            self._live[key] = (reference, size, "gradients")
            self._now[kind] -= size
            self._now["gradients"] += size
            if not self.hidden and self._total == self.traced.bytes:
                self.traced.peak = Counter(self._now)

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._live or key in self._known:
            return
        size = storage.nbytes()
        self._live[key] = (weakref.ref(storage, partial(self._gone, key)), size, self.kind)
        self._now[self.kind] += size
        self._total += size
        if not self.hidden and self._total > self.traced.bytes:
            self.traced.peak = Counter(self._now)

    def _gone(self, key: int, _: object) -> None:
        _, size, kind = self._live.pop(key)
        self._now[kind] -= size
        self._total -= size

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any, made: list[Tensor]) -> None:
        flops = _flops(func, args, kwargs, result)
        if self.hidden:
            self.traced.frozen_flops += flops
            return
        self.traced.flops += flops
        self.traced.operations += 1
        read = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        self.traced.moved += sum(tensor.numel() * tensor.element_size() for tensor in (*made, *read))


def _flops(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> float:
    packet = func.overloadpacket
    if packet in _FUSED:
        query, key, value = args[1:4] if packet is _FUSED[1] else args[:3]
        once = sdpa_flop_count(query.shape, key.shape, value.shape)  # type: ignore[no-untyped-call]
        return float(once * (_BACKWARD if packet is _FUSED[1] else 1))
    count = flop_registry.get(packet)
    return float(count(*args, **kwargs, out_val=result)) if count else 0.0


# --- a step -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """What is done with a micro-batch, by a model whose modes and whose gradients are set already."""

    inputs: Mapping[str, Tensor]
    """Arguments of the model, real ones or none's."""
    loss: Callable[[Any], Tensor]
    """From the model's outputs to a number with a gradient."""
    casts: bool = True
    """Whether products are computed in bf16."""
    around: Callable[[nn.Module], AbstractContextManager[object]] = lambda _: nullcontext()
    """Stands around the forward pass; what it makes is kept throughout."""
    tables: Callable[[nn.Module], frozenset[int]] = lambda _: frozenset()
    """Ids of embedding weights whose gradient is the rows that were read."""
    hidden: Sequence[str] = ()
    """Frozen modules whose outputs are stored and read."""
    micro_batches: int = 1
    """How many of them make a step."""
    recompute: Callable[[nn.Module], AbstractContextManager[object]] = lambda _: nullcontext()
    """Stands around the forward pass too, and lets blocks keep less."""


def trace(model: nn.Module, step: Step) -> Traced:
    """What a step needs of a model on the meta device; raises whatever torch says to a model that cannot be traced."""
    with pretending(model) as mode:
        inputs = {name: mode.from_tensor(tensor) for name, tensor in step.inputs.items()}
        recorder = Recorder([*model.parameters(), *model.buffers(), *inputs.values()])
        hooks = [
            hook
            for name in step.hidden
            for hook in _hiding(recorder, model.get_submodule(name), last=name == step.hidden[-1])
        ]
        hooks += [
            parameter.register_post_accumulate_grad_hook(recorder.is_gradient)  # type: ignore[no-untyped-call]
            for parameter in model.parameters()
            if parameter.requires_grad
        ]
        try:
            with recorder, torch.autocast("cpu", torch.bfloat16, enabled=step.casts):
                recorder.kind = "copies"
                around = step.around(model)
                # The first leaves its gradients for the second to add to.
                for _ in range(min(step.micro_batches, 2)):
                    _pass(model, step, recorder, inputs, around)
                model.zero_grad(set_to_none=True)
        finally:
            for hook in hooks:
                hook.remove()
    if step.micro_batches > 1:
        for name in ("flops", "frozen_flops", "operations", "moved"):
            setattr(recorder.traced, name, vars(recorder.traced)[name] / 2)
    return recorder.traced


def _pass(
    model: nn.Module,
    step: Step,
    recorder: Recorder,
    inputs: Mapping[str, Tensor],
    around: AbstractContextManager[object],
) -> None:
    recorder.kind = "activations"
    with around, _Lookups(step.tables(model)), step.recompute(model):
        outputs = model(**inputs)
        recorder.kind = "logits"
        loss = step.loss(outputs)
    del outputs
    recorder.kind = "working"
    loss.backward()  # type: ignore[no-untyped-call]


def trace_reading(model: nn.Module, inputs: Mapping[str, Tensor], *, casts: bool) -> Traced:
    """What a forward pass without gradients needs, of a model in evaluation mode."""
    with pretending(model) as mode:
        given = {name: mode.from_tensor(tensor) for name, tensor in inputs.items()}
        recorder = Recorder([*model.parameters(), *model.buffers(), *given.values()])
        with recorder, torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=casts):
            model(**given)
    return recorder.traced


def _hiding(recorder: Recorder, module: nn.Module, *, last: bool) -> list[Any]:
    def begin(*_: object) -> None:
        recorder.hidden += 1

    def end(_: nn.Module, __: object, output: Any) -> None:
        recorder.hidden -= 1
        if last:
            tensors = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
            recorder.traced.stored = [(tuple(tensor.shape), tensor.element_size()) for tensor in tensors[:1]]

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]


class _Lookups(TorchFunctionMode):
    """The gradient of a large table is the rows that were read, which torch cannot pretend."""

    def __init__(self, tables: frozenset[int]) -> None:
        super().__init__()
        self._tables = tables

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        weight = args[1] if len(args) > 1 else None
        if func is functional.embedding and id(weight) in self._tables and torch.is_grad_enabled():
            return _Rows.apply(weight, args[0])  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: Tensor) -> Tensor:  # noqa: ARG004  # torch's signature
        return weight.new_empty(*rows.shape, weight.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004
        return None, None
