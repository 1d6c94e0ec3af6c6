"""A model without its frozen beginning: what computes, what is read, and what is blank."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from tests.engine.toys import (
    WIDTH,
    Biased,
    First,
    InPlace,
    Last,
    Long,
    Sharing,
    Toy,
    Turned,
    Twice,
    Windowed,
    cut,
    frozen,
    texts,
)
from whet.engine.replay import Form, NoCutError, Output, Plan, Prefix, at, swapped


class Counter:
    """Which modules of a model have computed."""

    def __init__(self, model: nn.Module) -> None:
        self.called: list[str] = []
        for name, module in model.named_modules():
            if not list(module.children()):
                self._watch(name, module)

    def _watch(self, name: str, module: nn.Module) -> None:
        compute = module.forward

        def forward(*args: object, **kwargs: object) -> object:
            self.called.append(name)
            return compute(*args, **kwargs)

        module.forward = forward


def test_a_form_tells_the_shape_in_any_batch() -> None:
    form = Form(("rows", "length", 2), torch.float32)
    assert form.shape(3, 5) == (3, 5, 2)
    assert form.by_row
    assert Form(("rows", 4, 2), torch.float32).by_row
    assert not Form(("length", "rows", 2), torch.float32).by_row
    assert not Form(("rows", 2, "length"), torch.float32).by_row
    assert not Form((), torch.float32).by_row


def test_the_frozen_modules_compute_once_and_the_others_at_every_replay() -> None:
    model, prefix = cut(Toy)
    batch = texts([2, 7, 4], seed=3)
    counter = Counter(model)
    values = prefix.outputs(batch.inputs, batch.lengths)
    assert counter.called == ["embed", "body"]
    counter.called.clear()
    prefix.replay(batch.inputs, batch.lengths, values)
    assert counter.called == ["head"]


@pytest.mark.parametrize("kind", [Toy, First, Last, InPlace, Twice, Biased, Turned, Sharing])
def test_a_replay_is_the_forward_pass_for_other_rows_and_lengths(kind: type[nn.Module]) -> None:
    model, prefix = cut(kind, "out" if kind is Sharing else "head")
    for lengths in ([1], [1, 1, 1], [9, 2, 5, 6], [4, 4]):
        batch = texts(lengths, seed=7)
        values = prefix.outputs(batch.inputs, batch.lengths)
        padding = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
        for form, value in zip(prefix.stored, values, strict=True):
            if "length" in form.axes:
                value[padding] = 0.0
        for _ in range(2):
            fresh = [value.clone() for value in values]
            assert torch.equal(prefix.replay(batch.inputs, batch.lengths, fresh), model(**batch.inputs))


def test_what_is_stored_does_not_change_when_the_model_works_on_it_in_place() -> None:
    model, prefix = cut(InPlace)
    batch = texts([3, 2])
    (value,) = prefix.outputs(batch.inputs, batch.lengths)
    before = value.clone()
    model(**batch.inputs)
    assert torch.equal(value, before)


def test_a_tensor_lies_in_memory_as_the_frozen_module_returned_it() -> None:
    model, prefix = cut(Turned)
    assert prefix.plans["body", 0].outputs[0].form == Form(("rows", "length", 4, 2), torch.float32, (0, 1, 3, 2))
    assert isinstance(model, Turned)
    seen: list[tuple[int, ...]] = []
    answer = model.answer

    def look(hidden: Tensor, mask: Tensor) -> Tensor:
        seen.append(hidden.stride())
        return answer(hidden, mask)

    model.answer = look  # type: ignore[method-assign]
    batch = texts([5, 3])
    model(**batch.inputs)
    values = [value.contiguous() for value in prefix.outputs(batch.inputs, batch.lengths)]
    prefix.replay(batch.inputs, batch.lengths, values)
    assert seen == [(40, 8, 1, 4)] * 2


def test_what_nobody_should_read_is_not_a_number() -> None:
    model, _ = frozen(Toy)
    form = Form(("rows", "length", WIDTH), torch.float32)
    spec = tree_flatten(torch.zeros(()))[1]
    plans = {("embed", 0): Plan(spec, (Output("empty", form),))}
    prefix = Prefix(model, plans, (), "all", 0.5)
    batch = texts([4, 2])
    assert prefix.replay(batch.inputs, batch.lengths, []).isnan().all()


@pytest.mark.parametrize("kind", [Long, Windowed])
def test_a_batch_that_goes_another_way_than_the_probes_is_refused(kind: type[nn.Module]) -> None:
    _, prefix = cut(kind)
    batch = texts([9, 3])
    with pytest.raises(NoCutError, match="rows of 9 tokens go another way"):
        prefix.outputs(batch.inputs, batch.lengths)


def test_one_position_is_taken_where_one_is_read() -> None:
    values = torch.arange(24.0).view(2, 4, 3)
    lengths = np.array([4, 2])
    assert at(values, "all", lengths) is values
    assert at(values, "first", lengths).tolist() == [[[0, 1, 2]], [[12, 13, 14]]]
    assert at(values, "last", lengths).tolist() == [[[9, 10, 11]], [[15, 16, 17]]]


def test_calls_are_counted_by_module_and_those_inside_of_another_are_not() -> None:
    inner, calls = nn.Linear(2, 2), []
    outer = nn.Sequential(inner, inner)

    def answer(call: tuple[str, int], compute: object, arguments: list[object]) -> object:
        assert callable(compute)
        calls.append((call, len(arguments)))
        return compute()

    with swapped({"outer": outer, "outer.0": inner}, answer):
        outer(torch.zeros(1, 2))
        inner(torch.zeros(1, 2))
        outer(torch.zeros(1, 2))
    assert calls == [(("outer", 0), 1), (("outer.0", 0), 1), (("outer", 1), 1)]


def test_modules_are_themselves_again_afterwards_even_where_the_pass_failed() -> None:
    plain, own, shared = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(input: Tensor) -> Tensor:
        return input * 2

    vars(own)["forward"] = forward

    def broken() -> None:
        with swapped({"plain": plain, "own": own, "one": shared, "two": shared}, lambda *_: 0):
            assert plain(torch.zeros(1, 2)) == own(torch.zeros(1, 2)) == 0
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        broken()
    assert "forward" not in vars(plain)
    assert "forward" not in vars(shared)
    assert vars(own)["forward"] is forward
    assert plain(torch.ones(1, 2)).shape == (1, 2)
