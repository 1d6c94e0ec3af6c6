from io import StringIO

from rich.console import Console

from whet.planning.fit import Fit
from whet.planning.memory import Memory
from whet.planning.planned import Plan, Planned
from whet.planning.time import Duration
from whet.report.plan import show

MEMORY = Memory("step", weights=2**30, activations=2**29, runtime=2**28)
FULL = Planned(
    "full", 10_000, 10_000, 10_000, Fit(4, True, MEMORY, True, "what it costs"), 30, Duration(1, 10, 5, 35), 99
)
LORA = Planned("lora", 100, 100, 10_100, Fit(16, False, MEMORY, True, ""))
GIANT = Planned("scratch", 10_000, 10_000, 10_000, Fit(1, True, MEMORY, False, ""), estimated="it asks for numbers")


def shown(*methods: Planned, terms: bool = False, width: int = 80) -> str:
    plan = Plan("a [model]", "this CPU", 2**34, 16, 128, 480, list(methods), {"bitfit": "method 'bitfit': no biases"})
    out = StringIO()
    show(Console(file=out, width=width), plan, terms=terms)
    return out.getvalue()


def test_a_line_for_each_method_fits_into_a_narrow_terminal() -> None:
    said = shown(FULL, LORA, GIANT)
    assert "…" not in said
    for word in ("full", "100%", "0.99%", "1.8 GiB", "35 s", "yes", "no", "a [model]", "480 rows", "16.0 GiB free"):
        assert word in said


def test_settings_with_which_it_fits_can_be_copied() -> None:
    said = " ".join(shown(FULL).split())
    settings = "--set training.micro_batch_size=4 --set training.gradient_checkpointing=true: what it costs"
    assert f"full fits with {settings}" in said
    assert "adjusted" in said


def test_terms_are_told_largest_first() -> None:
    said = " ".join(shown(LORA, terms=True).split())
    assert "weights 1.0 GiB, activations 512.0 MiB, runtime 256.0 MiB; highest at a step" in said
    assert "weights 1.0 GiB" not in shown(LORA)


def test_refusals_estimates_and_ways_out_are_told() -> None:
    said = " ".join(shown(LORA, GIANT).split())
    assert "bitfit: method 'bitfit': no biases" in said
    assert "scratch: shown is the least" in said
    assert "such as method 'lora'" in said
    assert "estimated from the sizes of the layers" in said
    assert "a smaller model" in " ".join(shown(GIANT).split())
