"""What the laws need to know of each method: one row each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import nn

from whet import catalog
from whet.core import Quantisation
from whet.model.parts import parts_of
from whet.model.quantise import quantise

Options = Mapping[str, object]


@dataclass(frozen=True)
class Row:
    """One method."""

    options: Options = field(default_factory=dict)
    """Small where the default would be larger than the tiny models."""
    changed: Options = field(default_factory=dict)
    """Another value for every option."""
    keeps_output: bool = True
    """Whether the model answers the same right after ``attach``."""
    merges: bool = True
    """Whether a plain model can compute the same as the trained one."""
    refused: tuple[tuple[Options, tuple[str, ...]], ...] = ()
    """Options that cannot work on the tiny BERT, and words of the reason."""
    without: Mapping[str, str] = field(default_factory=dict)
    """Backbones on which the method has no meaning, and a word of the reason."""
    freezes: bool = False
    """Whether the leading blocks are frozen at the start, so that their outputs can be stored."""
    quarter: Options = field(default_factory=dict)
    """Where there are several stages: options with which the frozen blocks are so for a quarter of the run."""
    storing: tuple[tuple[str, Options], ...] = ()
    """Backbones and options with which it freezes the leading blocks although it mostly does not."""
    variants: tuple[Options, ...] = ()
    """Options that change what is attached, so that the laws of attaching, saving and merging hold for them anew."""
    rounding: tuple[Options, ...] = ()
    """The same, where the output right after ``attach`` is unchanged but for rounding."""
    needs: str = "torch"
    """A package without which the method cannot work."""
    prepared: Callable[[nn.Module], nn.Module] = lambda base: base
    """What is done to the plain base model before a saved adapter is put on it."""


def in_four_bits(base: nn.Module) -> nn.Module:
    """A base model as ``qlora`` keeps it by default."""
    quantise(base, parts_of(base), Quantisation())
    return base


SOUND_AND_PICTURES = (
    "vit",
    "resnet",
    "convnext",
    "swin",
    "wav2vec2",
    "wavlm",
    "whisper",
    "audio-spectrogram-transformer",
)

CONVOLUTIONS = ("resnet", "convnext")
NO_WAY_IN = (*CONVOLUTIONS, "wavlm")
"""Whose attention, if they have one, takes no keys from outside."""

METHODS: dict[str, Row] = {
    "adapter": Row(
        options={"bottleneck": 6},
        changed={
            "placement": "parallel",
            "bottleneck": 3,
            "reduction": 4.0,
            "activation": "tanh",
            "dropout": 0.5,
            "scale": 0.5,
        },
        merges=False,
        refused=(({"bottleneck": 8, "reduction": 4.0}, ("method.bottleneck", "method.reduction", "leave one")),),
    ),
    "bitfit": Row(without=dict.fromkeys(("llama", "t5", "modernbert"), "no biases")),
    "embeddings": Row(without=dict.fromkeys(SOUND_AND_PICTURES, "no tokens")),
    "full": Row(),
    "gradual": Row(
        options={"groups": 2}, changed={"unfreezing": 0.9, "groups": 1}, freezes=True, quarter={"groups": 1}
    ),
    "head": Row(freezes=True),
    "ia3": Row(
        changed={"targets": ["*.query"], "feedforward": []},
        refused=(
            ({"targets": [], "feedforward": []}, ("neither", "method.targets", "'lora'")),
            ({"feedforward": ["*.fc2"]}, ("method.feedforward", "'*.fc2'", "dense")),
        ),
        without={"resnet": "neither keys and values nor a feed-forward"},
        storing=(("bert", {"targets": ["*.layer.2.*.key"], "feedforward": ["*.layer.2.output.dense"]}),),
    ),
    "last_blocks": Row(
        options={"count": 1},
        changed={"count": 3},
        refused=(({"count": 9}, ("9 blocks", "has 3", "'full'")),),
        freezes=True,
    ),
    "layernorm": Row(),
    "lora": Row(
        options={"rank": 3},
        changed={
            "rank": 2,
            "alpha": 3.0,
            "scaling": "alpha/sqrt(rank)",
            "decompose": True,
            "start": "pissa",
            "b_rate": 4.0,
            "dropout": 0.5,
            "targets": ["*.query"],
        },
        refused=(
            ({"targets": ["*.qery"]}, ("'*.qery'", "query")),
            ({"targets": []}, ("empty list",)),
            ({"rank": 33, "start": "pissa"}, ("32 principal directions", "not 33", "'zero'")),
        ),
        storing=(
            ("bert", {"rank": 3, "dropout": 0.1, "targets": ["*.layer.2.*"]}),
            ("bert", {"rank": 3, "decompose": True, "start": "pissa", "targets": ["*.layer.2.*"]}),
        ),
        variants=({"rank": 3, "decompose": True, "scaling": "alpha/sqrt(rank)"},),
        rounding=(
            {"rank": 3, "start": "pissa", "scaling": "alpha/sqrt(rank)", "b_rate": 4.0},
            {"rank": 3, "start": "pissa", "decompose": True},
        ),
    ),
    "lp_ft": Row(changed={"probing": 0.8, "probing_scale": 2.0}, freezes=True, quarter={"probing": 0.25}),
    "mask": Row(
        options={"train": ["*.weight"]},
        changed={"train": ["classifier.*"], "freeze": ["*.attention.*"]},
        refused=(
            ({"train": ["*.qery.*"], "freeze": ["nothing"]}, ("'*.qery.*'", "'nothing'", "bert")),
            ({"train": []}, ("empty list",)),
            ({"train": ["*"], "freeze": ["*"]}, ("nothing would train",)),
        ),
        storing=(("bert", {"train": ["*.layer.2.*", "classifier.*"]}),),
    ),
    "p_tuning": Row(
        options={"length": 3},
        changed={"length": 4},
        keeps_output=False,
        merges=False,
        without=dict.fromkeys(NO_WAY_IN, "no block"),
        refused=(({"length": 32}, ("32 virtual tokens", "32 positions", "'lora'")),),
    ),
    "prefix": Row(
        options={"length": 3, "bottleneck": 8},
        changed={"length": 4, "bottleneck": 8, "reparametrise": False},
        keeps_output=False,
        merges=False,
        without=dict.fromkeys(NO_WAY_IN, "no block"),
        refused=(({"reparametrise": False, "bottleneck": 8}, ("bottleneck", "leave it out")),),
    ),
    "prompt": Row(
        options={"length": 3},
        changed={"length": 4, "start": "random", "text": "abc"},
        keeps_output=False,
        merges=False,
        without={**dict.fromkeys(NO_WAY_IN, "no row of tokens"), "swin": "merge their tokens"},
        refused=(
            ({"length": 40}, ("40 virtual tokens", "32 positions", "'lora'")),
            ({"text": "abc", "start": "random"}, ("method.text", "method.start", "leave one")),
        ),
    ),
    "qlora": Row(
        options={"rank": 3, "dropout": 0.0},
        changed={
            "rank": 2,
            "alpha": 3.0,
            "dropout": 0.5,
            "targets": ["*.query"],
            "kind": "fp4",
            "double_quantisation": False,
        },
        keeps_output=False,
        refused=(({"targets": ["*.qery"]}, ("'*.qery'", "query")), ({"targets": []}, ("empty list",))),
        without={"resnet": "no linear layer"},
        storing=(("bert", {"rank": 3, "targets": ["*.layer.2.*"]}),),
        needs="bitsandbytes",
        prepared=in_four_bits,
    ),
    "scratch": Row(keeps_output=False),
}


def row(name: str) -> Row:
    """The row of a method; one that has none fails its tests by the plainest row there is."""
    return METHODS.get(name, Row())


assert set(METHODS) <= set(catalog.names("method"))
