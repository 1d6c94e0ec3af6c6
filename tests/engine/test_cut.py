"""Where the frozen beginning of a model ends, and when there is none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.engine import toys
from tests.engine.toys import CLASSES, PROBES, VOCABULARY, WIDTH, Noisy, Padding, Toy, cut, frozen, texts
from whet.engine.cut import Probe, find_prefix, reads_as_found
from whet.engine.replay import NoCutError
from whet.engine.store import Store, Writer

HIDDEN = ("rows", "length", WIDTH)
ONE = ("rows", 1, WIDTH)


@pytest.mark.parametrize(
    ("kind", "modules", "stored", "reads"),
    [
        (toys.Toy, ["embed", "body"], [HIDDEN], "all"),
        (toys.First, ["embed", "body"], [ONE], "first"),
        (toys.Last, ["embed", "body"], [ONE], "last"),
        (toys.InPlace, ["embed", "body"], [HIDDEN], "all"),
        (toys.Twice, ["embed", "body"], [HIDDEN], "all"),
        (toys.Flat, ["embed"], [HIDDEN], "all"),
        (toys.Noisy, ["embed"], [HIDDEN], "all"),
        (toys.Packing, ["embed", "body"], [HIDDEN], "all"),
        (toys.Biased, ["embed", "body"], [HIDDEN], "all"),
        (toys.Turned, ["embed", "body"], [("rows", "length", 4, 2)], "all"),
        (toys.Pointing, ["embed", "body", "point"], [HIDDEN, ("rows",)], "all"),
    ],
)
def test_the_frozen_beginning_of(
    kind: type[nn.Module], modules: list[str], stored: list[tuple[object, ...]], reads: str
) -> None:
    _, prefix = cut(kind)
    assert prefix.modules == modules
    assert [form.axes for form in prefix.stored] == stored
    assert prefix.reads == reads


def test_a_module_in_two_places_is_one_module() -> None:
    _, prefix = cut(toys.Sharing, trained="out")
    assert prefix.modules == ["left.embed"]
    assert prefix.sources == [("left.embed", 0, 0), ("left.embed", 1, 0)]


def test_of_two_calls_of_a_module_the_last_is_stored() -> None:
    assert cut(toys.Twice)[1].sources == [("body", 1, 0)]


def test_each_leaf_of_what_a_module_returns_comes_from_where_it_can() -> None:
    _, prefix = cut(toys.Packing)
    outputs = prefix.plans["body", 0].outputs
    assert [output.kind for output in outputs] == ["stored", "empty", "passed", "constant", "constant"]
    assert [output.constant for output in outputs[3:]] == [None, WIDTH]


def test_what_a_zero_hides_now_is_read_later() -> None:
    class Gated(Toy):
        """Begins without its second way, whose arithmetic makes numbers of blanks."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2 * WIDTH, CLASSES)
            with torch.no_grad():
                self.head.weight.zero_()

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            first = self.embed(ids)
            return self.answer(torch.cat([self.body(first), first.nan_to_num(0.0)], dim=-1), mask)

    model, mask = frozen(Gated)
    assert len(find_prefix(model, mask, PROBES).stored) == 2
    assert not model.get_parameter("head.weight").any()


def test_the_share_is_that_of_the_operations() -> None:
    _, prefix = cut(Toy)
    # Products of the first probe, two rows of four tokens: the body at every token, the head once for each row.
    body, head = 2 * 4 * WIDTH * WIDTH, 2 * WIDTH * CLASSES
    assert prefix.share == pytest.approx(body / (body + head))


@pytest.mark.parametrize(
    ("kind", "trained", "words"),
    [
        (toys.Branching, "head", "another way through its layers"),
        (toys.Counting, "head", "return what they returned before"),
        (toys.Toy, "embed", "nothing that trains reads"),
        (Padding, "head", "change when its frozen layers are left out"),
    ],
)
def test_there_is_none_and_the_reason_is_told(kind: type[nn.Module], trained: str, words: str) -> None:
    model, mask = frozen(kind, trained)
    with pytest.raises(NoCutError, match=words):
        find_prefix(model, mask, PROBES)


def test_there_is_none_where_everything_trains() -> None:
    model = Toy().train()
    with pytest.raises(NoCutError, match="nothing is frozen"):
        find_prefix(model, frozenset(name for name, _ in model.named_parameters()), PROBES)


def test_a_tied_parameter_trains_under_all_of_its_names() -> None:
    class Tied(Toy):
        def __init__(self) -> None:
            super().__init__()
            self.decode = nn.Linear(WIDTH, VOCABULARY, bias=False)
            self.decode.weight = self.embed.weight

        def answer(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.decode(self.body(hidden)[:, 0])
            return logits

    model = Tied().eval()
    with pytest.raises(NoCutError, match="nothing that trains reads"):
        find_prefix(model, frozenset({"embed.weight"}), PROBES)


def test_rows_of_one_length_have_no_axis_of_that_name() -> None:
    model, mask = frozen(Toy)
    prefix = find_prefix(model, mask, (texts([5, 5]), texts([5, 5, 5])))
    assert [form.axes for form in prefix.stored] == [("rows", 5, WIDTH)]


def test_looking_leaves_no_trace() -> None:
    class Normed(Noisy):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.BatchNorm1d(WIDTH), nn.Dropout(0.5), nn.Linear(WIDTH, CLASSES))  # type: ignore[assignment]

    model, mask = frozen(Normed)
    modes = {name: module.training for name, module in model.named_modules()}
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = torch.get_rng_state()
    prefix = find_prefix(model, mask, PROBES)
    assert prefix.modules == ["embed"]
    assert torch.equal(torch.get_rng_state(), random)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any("forward" in vars(module) for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("kind", [toys.Toy, toys.First, toys.Last])
def test_rows_in_which_another_position_is_read_are_told_from_the_others(kind: type[nn.Module]) -> None:
    _, prefix = cut(kind)
    batch = texts([4, 6, 2], seed=5)
    values = prefix.outputs(batch.inputs, batch.lengths)
    assert reads_as_found(prefix, batch, values)
    longer = replace(batch, inputs={**batch.inputs, "mask": torch.ones(3, 6, dtype=torch.long)})
    assert reads_as_found(prefix, longer, values) == (kind is not toys.Last)


def test_the_probes_differ_in_their_number_of_rows() -> None:
    model, mask = frozen(Toy)
    with pytest.raises(ValueError, match="more rows"):
        find_prefix(model, mask, (PROBES[1], PROBES[0]))


def test_several_places_of_a_row_are_stored_with_it() -> None:
    class Patches(nn.Module):
        """Reads three patches of each row and answers for the row."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(4, 5)
            self.head = nn.Linear(5, 2)

        def forward(self, x: Tensor) -> Tensor:
            seen: Tensor = self.head(self.body(x.flatten(0, 1)))
            return seen.view(len(x), -1, 2).mean(dim=1)

    torch.manual_seed(0)
    model = Patches()
    model.eval()
    model.head.train()
    rows = torch.randn(5, 3, 4)
    few, more = (Probe({"x": rows[:n]}, np.ones(n, dtype=np.int64), lambda out: [out]) for n in (2, 3))
    prefix = find_prefix(model, frozenset({"head.weight", "head.bias"}), (few, more))
    assert (prefix.modules, prefix.stored[0].parts, prefix.stored[0].axes) == (["body"], 3, ("rows", 5))
    store, lengths = Store(prefix.stored, None), np.ones(5, dtype=np.int64)
    digests = np.array([bytes([65 + i] * 16) for i in range(5)], dtype="S16")
    for part in (np.array([0, 2]), np.array([1, 3, 4])):
        writer = Writer(store, lengths[part])
        writer.add(digests[part], lengths[part], prefix.outputs({"x": rows[part]}, lengths[part]))
        writer.finish()
    order = np.array([4, 0, 3, 2])
    # Of one segment and of two.
    for chosen in (order, np.array([2, 0])):
        values = store.gather(store.find(digests[chosen]), 1)
        replayed = prefix.replay({"x": rows[chosen]}, lengths[chosen], values)
        assert torch.equal(replayed, model(rows[chosen]))
