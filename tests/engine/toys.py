"""Models of a few lines, each with one habit that a frozen beginning has to cope with, and batches for them."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from tests.contracts.arena import SETTINGS, TrimmedTask
from whet.core import Mask, Parts, Stage
from whet.engine.cut import Probe, find_prefix
from whet.engine.job import Job, Settings
from whet.engine.replay import Prefix

WIDTH, CLASSES, VOCABULARY = 8, 3, 20


class Toy(nn.Module):
    """Token numbers (B, T) and their mask to logits (B, 3): reads the mean of the real positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.body = nn.Linear(WIDTH, WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.answer(self.body(self.embed(ids)), mask)

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        real = mask[..., None].to(hidden.dtype)
        mean = (hidden * real).sum(1) / real.sum(1)
        logits: Tensor = self.head(mean)
        return logits


class First(Toy):
    """Reads the first position."""

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.head(hidden[:, 0])
        return logits


class Last(Toy):
    """Reads the last real position."""

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.head(hidden[torch.arange(len(mask)), mask.sum(1) - 1])
        return logits


class Padding(Toy):
    """Reads padding as if it were text."""

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.head(hidden).mean(1)
        return logits


class InPlace(Toy):
    """Changes what the frozen layers have returned."""

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return super().answer(hidden.mul_(2.0).add_(1.0), mask)


class Flat(Toy):
    """Its body sees all positions of all rows as one list (B * T, D)."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        flat = self.body(self.embed(ids).flatten(0, 1))
        return self.answer(flat.view(*ids.shape, WIDTH), mask)


class Twice(Toy):
    """Calls its body twice."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.answer(self.body(self.body(self.embed(ids))), mask)


class Branching(Toy):
    """Goes another way for batches of more than two rows."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.embed(ids)
        return self.answer(self.body(hidden) if len(ids) > 2 else hidden, mask)


class Long(Toy):
    """Goes another way for rows of more than six tokens."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.embed(ids)
        return self.answer(hidden if ids.shape[1] > 6 else self.body(hidden), mask)


class Windowed(Toy):
    """Its body works on whole windows of eight positions."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        windows = nn.functional.pad(self.embed(ids), (0, 0, 0, -ids.shape[1] % 8))
        return self.answer(self.body(windows)[:, : ids.shape[1]], mask)


class Counting(Toy):
    """Answers differently at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        self.calls += 1
        return super().answer(hidden, mask) + self.calls


class Noisy(Toy):
    """Drops some of what its embedding returns."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.answer(self.body(self.drop(self.embed(ids))), mask)


class Mixing(Toy):
    """What its body returns for a row depends on the rows beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _Mixed()


class _Mixed(nn.Linear):
    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + input.mean((0, 1))


class Packing(Toy):
    """Its body returns a dictionary: the hidden states, one of its own inputs, and what is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _Packed()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        packed = self.body(self.embed(ids), mask=mask)
        assert packed["nothing"] is None
        assert packed["width"] == WIDTH
        return self.answer(packed["hidden"], packed["mask"])


class _Packed(nn.Linear):
    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)

    def forward(self, input: Tensor, mask: Tensor | None = None) -> dict[str, object]:  # type: ignore[override]
        hidden = super().forward(input)
        return {"hidden": hidden, "idle": hidden * 2, "mask": mask, "nothing": None, "width": WIDTH}


class Biased(Toy):
    """A table (T, T), which is not by row, goes through the body to the head."""

    def __init__(self) -> None:
        super().__init__()
        self.distances = _Distances()
        self.body = _Handing()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden, distances = self.body(self.embed(ids), self.distances(ids))
        return self.answer(hidden + distances[0, :, None], mask)


class _Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.3))

    def forward(self, ids: Tensor) -> Tensor:
        position = torch.arange(ids.shape[1])
        return self.slope * (position - position[:, None])


class _Handing(nn.Linear):
    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)

    def forward(self, input: Tensor, distances: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(input), distances


class Pointing(Toy):
    """Its body tells by a whole number which position to read."""

    def __init__(self) -> None:
        super().__init__()
        self.point = _Loudest()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = self.body(self.embed(ids))
        logits: Tensor = self.head(hidden[torch.arange(len(ids)), self.point(hidden, mask)])
        return logits


class _Loudest(nn.Module):
    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return hidden.square().sum(-1).masked_fill(mask == 0, -1.0).argmax(1)


class Turned(Toy):
    """What its body returns does not lie in memory in the order of its axes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = _Turning()

    def answer(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return super().answer(hidden.flatten(2), mask)


class _Turning(nn.Linear):
    def __init__(self) -> None:
        super().__init__(WIDTH, WIDTH)

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).view(*input.shape[:2], 2, 4).transpose(2, 3)


class Sharing(nn.Module):
    """One frozen module stands in two places."""

    def __init__(self) -> None:
        super().__init__()
        embed = nn.Embedding(VOCABULARY, WIDTH)
        self.left, self.right = _Part(embed, WIDTH), _Part(embed, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = (self.left.embed(ids) + self.right.embed(VOCABULARY - 1 - ids)) * mask[..., None]
        logits: Tensor = self.right.out(self.left.out(hidden.sum(1)))
        return logits


class _Part(nn.Module):
    def __init__(self, embed: nn.Module, width: int) -> None:
        super().__init__()
        self.embed = embed
        self.out = nn.Linear(WIDTH, width)


def frozen(kind: type[nn.Module], trained: str = "head") -> tuple[nn.Module, Mask]:
    """A model of which the modules of this name train, in the modes of training, and what trains."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = kind().eval()
    mask = frozenset(n for n, _ in model.named_parameters() if trained in n.split("."))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in mask)
    for name, module in model.named_modules():
        module.training = trained in name.split(".") or isinstance(module, nn.Dropout)
    return model, mask


def texts(lengths: Sequence[int], seed: int = 0) -> Probe:
    """A batch of rows of these lengths, padded with token 0; what is observed are the logits."""
    longest = max(lengths)
    ids = torch.randint(1, VOCABULARY, (len(lengths), longest), generator=torch.Generator().manual_seed(seed))
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).long()
    return Probe({"ids": ids * mask, "mask": mask}, np.array(lengths), lambda outputs: [outputs])


PROBES = (texts([3, 4]), texts([6, 2, 5], seed=1))


def cut(kind: type[nn.Module], trained: str = "head") -> tuple[nn.Module, Prefix]:
    """A model in the modes of training, and its frozen beginning."""
    model, mask = frozen(kind, trained)
    return model, find_prefix(model, mask, PROBES)


class Wrapped(PreTrainedModel):  # type: ignore[no-untyped-call]
    """A toy as a model of transformers."""

    def __init__(self, toy: nn.Module) -> None:
        super().__init__(PreTrainedConfig())
        self.toy = toy

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.toy(input_ids, attention_mask)}


def job(kind: type[nn.Module], lengths: Sequence[int], settings: Settings = SETTINGS) -> Job:
    """The head of a toy on texts of these lengths; they are its validation rows too."""
    model = Wrapped(frozen(kind)[0])
    parameters = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    blocks = tuple((f"toy.{name}",) for name, _ in model.toy.named_children() if name not in ("embed", "head"))
    parts = Parts("toy", ("toy.embed",), blocks, (), ("toy.head",), parameters, {})
    batch = texts(lengths)
    inputs = {"input_ids": batch.inputs["ids"], "attention_mask": batch.inputs["mask"]}
    task = TrimmedTask(inputs, torch.arange(len(lengths)) % CLASSES)
    return Job(
        model=model,
        parts=parts,
        stages=[Stage("head", 1.0, parts.under(parts.head))],
        task=task,
        train=task.examples(),
        validation=task.examples(),
        settings=settings,
        device=torch.device("cpu"),
    )
