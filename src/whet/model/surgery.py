"""Changes of a pre-trained model before a method is attached: fewer blocks, more, some begun anew, another head."""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from whet.core import Block, Loaded
from whet.errors import ModelError
from whet.model.layered import put_on
from whet.model.parts import parts_of
from whet.model.sublayers import sublayers
from whet.sections import Surgery

_COUNTS = ("num_hidden_layers", "encoder_layers")
"""Where a config says how many blocks there are; some say it twice."""

_TOKENS, _SAMPLES = 8, 8000
"""Of the text and of the sound on which a model is tried."""


def operate(loaded: Loaded, wanted: Surgery) -> Loaded:
    """The model with its last blocks removed, with blocks added, with random weights in its last blocks, and with a
    head of other layers, as far as each is wanted.

    What starts anew, and what is added, counts as fresh, so every method trains and saves it. New weights come from
    torch's present seed. Raises ModelError where the model has not that many blocks, or none that can be removed, or
    can have none added.
    """
    if wanted.insert and (wanted.drop_blocks or wanted.reinitialise):
        raise ModelError(
            "surgery.insert: added blocks leave the model's answers as they are, and surgery.drop_blocks or "
            "surgery.reinitialise would change them; leave one out"
        )
    if wanted.drop_blocks:
        loaded = replace(loaded, model=without_last(loaded.model, wanted.drop_blocks))
    if wanted.insert:
        loaded = _expanded(loaded, wanted.insert)
    if wanted.reinitialise:
        loaded = _with_fresh(loaded, _reinitialise(loaded.model, wanted.reinitialise))
    if wanted.head:
        place = put_on(loaded.model, wanted.head)
        loaded = _with_fresh(loaded, sorted(parts_of(loaded.model).under([place])))
    return loaded


def _with_fresh(loaded: Loaded, names: Sequence[str]) -> Loaded:
    return replace(loaded, fresh=(*loaded.fresh, *(name for name in names if name not in loaded.fresh)))


# --- removing and adding ------------------------------------------------------------------------------------------


def without_last(model: PreTrainedModel, count: int) -> PreTrainedModel:
    """The first blocks of a model, its embeddings and its head (Sajjad et al. 2023, arXiv 2004.03844)."""
    blocks = parts_of(model).blocks
    if count >= len(blocks):
        most = len(blocks) - 1
        raise ModelError(f"surgery.drop_blocks: {count} of {len(blocks)} blocks leave none; drop at most {most}")
    smaller, _ = _of_blocks(
        model,
        range(len(blocks) - count),
        f"surgery.drop_blocks: the blocks of {model.config.model_type} differ in width or stand on two sides, so "
        "the last ones cannot be removed; leave surgery.drop_blocks out, or choose a smaller model",
    )
    return smaller


def _expanded(loaded: Loaded, count: int) -> Loaded:
    """A model with more blocks that answers the same (block expansion, Wu et al. 2024, arXiv 2401.02415).

    The blocks are cut into ``count`` groups, and each group ends with a copy of its last block in which the layers
    that compute last are zero: in x + f(x) of attention and feed-forward f(x) is 0 at the start.
    """
    model = loaded.model
    blocks = parts_of(model).blocks
    if count > len(blocks):
        raise ModelError(f"surgery.insert: {count} blocks cannot stand behind {len(blocks)}; add at most {len(blocks)}")
    behind = {(number + 1) * len(blocks) // count - 1 for number in range(count)}
    sources = [block for block in range(len(blocks)) for _ in range(2 if block in behind else 1)]
    refusal = (
        f"surgery.insert: to a model of type {model.config.model_type} no block can be added that leaves its answers "
        "as they are, as it is where blocks differ in kind or end in a norm; leave surgery.insert out"
    )
    larger, origins = _of_blocks(model, sources, refusal)
    parts = parts_of(larger)
    copies = [block for i, block in enumerate(parts.blocks) if i and sources[i] == sources[i - 1]]
    added = {name for block in copies for name in block}
    for sublayer in sublayers(parts):
        if sublayer.block in added:
            for parameter in larger.get_submodule(sublayer.output).parameters():
                nn.init.zeros_(parameter)
    if not _answer_alike(model, larger):
        raise ModelError(refusal)
    new = parts.under(added)
    fresh = tuple(name for name in parts.parameters if name in new or origins.get(name) in loaded.fresh)
    return replace(loaded, model=larger, fresh=fresh)


def _of_blocks(model: PreTrainedModel, sources: Sequence[int], refusal: str) -> tuple[PreTrainedModel, dict[str, str]]:
    """A model whose blocks are these of another one, and for each of its tensors the name of that it comes from.

    Raises ModelError with the ``refusal`` where no standard model has such blocks.
    """
    blocks = parts_of(model).blocks
    config = _resized(model.config, len(blocks), sources)
    with torch.device("meta"):
        planned: PreTrainedModel = type(model)(config)
    had, wanted = model.state_dict(), planned.state_dict()
    origins = _origins(wanted, parts_of(planned).blocks, [blocks[source] for source in sources])
    if origins is None or any(name not in had or had[name].shape != wanted[of].shape for of, name in origins.items()):
        raise ModelError(refusal)
    made: PreTrainedModel = type(model)(config)
    made.load_state_dict({of: had[name] for of, name in origins.items()})
    made.train(model.training)
    if made.can_generate():
        made.generation_config = model.generation_config
    return made, origins


def _origins(wanted: Mapping[str, Tensor], blocks: Sequence[Block], sources: Sequence[Block]) -> dict[str, str] | None:
    """For each tensor of a planned model the name of that it comes from; None where its blocks are others in kind."""
    kinds = [[[re.sub(r"\d+", "*", name) for name in block] for block in side] for side in (blocks, sources)]
    if kinds[0] != kinds[1]:
        return None
    both = zip(blocks, sources, strict=True)
    pairs = [(f"{to}.", f"{of}.") for pair in both for to, of in zip(*pair, strict=True)]
    origins = {}
    for name in wanted:
        to, of = next((pair for pair in pairs if name.startswith(pair[0])), ("", ""))
        origins[name] = of + name.removeprefix(to)
    return origins


def _resized(config: PreTrainedConfig, blocks: int, sources: Sequence[int]) -> PreTrainedConfig:
    """A config that says how many ``sources`` there are wherever it says ``blocks``, and which kinds they are."""
    resized = copy.deepcopy(config)
    told = config.to_dict()
    for name in (*_COUNTS, *config.attribute_map.values()):
        if told.get(name) == blocks and (name in _COUNTS or "layer" in name):
            setattr(resized, name, len(sources))
    for name, value in told.items():
        if name == "layer_types" and isinstance(value, list) and len(value) == blocks:
            setattr(resized, name, [value[source] for source in sources])
    return resized


def _answer_alike(one: PreTrainedModel, other: PreTrainedModel) -> bool:
    """Whether two models give a row of noise the same answer, bit for bit; no where nobody knows what they read."""
    answers = []
    try:
        row = _noise(one)
    except KeyError:
        return False
    for model in (one, other):
        training = model.training
        with torch.no_grad():
            answers.append(model.train(mode=False)(**row).logits)
        model.train(training)
    return torch.equal(*answers)


def _noise(model: PreTrainedModel) -> dict[str, Tensor]:
    """A row that the model can read."""
    told = model.config.get_text_config().to_dict() if model.main_input_name == "input_ids" else model.config.to_dict()
    generator = torch.Generator().manual_seed(0)
    match model.main_input_name:
        case "input_ids":
            row = torch.randint(told["vocab_size"], (1, _TOKENS), generator=generator)
        case "pixel_values":
            size = told["image_size"]
            sides = size if isinstance(size, list | tuple) else (size, size)
            row = torch.randn(1, told["num_channels"], *sides, generator=generator)
        case "input_features":
            row = torch.randn(1, told["num_mel_bins"], 2 * told["max_source_positions"], generator=generator)
        case _ if "num_mel_bins" in told:
            row = torch.randn(1, told["max_length"], told["num_mel_bins"], generator=generator)
        case _:
            row = torch.randn(1, _SAMPLES, generator=generator)
    return {model.main_input_name: row}


# --- beginning anew -----------------------------------------------------------------------------------------------


def _reinitialise(model: PreTrainedModel, count: int) -> list[str]:
    """Random weights in the last blocks (Zhang et al. 2021, arXiv 2006.05987); the names of their parameters."""
    parts = parts_of(model)
    if count > len(parts.blocks):
        raise ModelError(
            f"surgery.reinitialise: {count} blocks asked for, the model has {len(parts.blocks)}; "
            f"choose at most {len(parts.blocks)}, or method 'scratch'"
        )
    names = [name for block in parts.blocks[-count:] for name in block]
    # As the architecture draws them: a model of the same config, of which only these blocks are taken.
    drawn = dict(type(model)(model.config).state_dict())
    with torch.no_grad():
        for name, tensor in _tensors(model, names):
            tensor.copy_(drawn[name])
    return sorted(parts.under(names))


def _tensors(model: nn.Module, modules: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and statistics of some modules, by their names in the model's state."""
    prefixes = tuple(f"{name}." for name in modules)
    for name, tensor in model.state_dict(keep_vars=True).items():
        if name.startswith(prefixes):
            yield name, tensor
