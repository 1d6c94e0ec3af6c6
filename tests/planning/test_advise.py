"""The advice: which rule decides, how long a run is, and what fits into a time."""

import subprocess
import sys
from dataclasses import replace

import pytest

from whet import catalog
from whet.planning.advise import (
    NEAR,
    NEAR_TEXTS,
    TABLE,
    Facts,
    Pace,
    Pick,
    Probe,
    advise,
    candidates,
    enough,
    epochs_for,
    length_of,
    takes,
    within,
)

GIB = 2**30
TEXTS = Facts(
    "text_classification", "single_label", rows=4000, parameters=22_700_000, classes=2, rarest=900, memory=16 * GIB
)
PICTURES = replace(TEXTS, task="image_classification", rows=400, classes=10, rarest=30, parameters=3_500_000)
SOUNDS = replace(PICTURES, task="audio_classification")
KNOWN = Probe(score=0.95, majority=0.1, rows=400)
UNKNOWN = Probe(score=0.4, majority=0.1, rows=400)


def test_every_pick_of_the_table_is_a_method_and_the_two_differ() -> None:
    for rule in TABLE:
        assert {rule.first, rule.second} <= set(catalog.names("method"))
        assert rule.first != rule.second
        assert rule.why
        assert rule.source


def test_the_last_rule_always_holds_so_there_is_advice_for_everything() -> None:
    assert TABLE[-1].holds(replace(TEXTS, task="a task of somebody else", problem="", classes=None, rarest=None))


def test_every_rule_can_decide() -> None:
    facts = [
        TEXTS,
        replace(TEXTS, rows=100, classes=20, rarest=2),
        replace(TEXTS, rows=400, probe=KNOWN),
        replace(TEXTS, parameters=400_000_000),
        replace(TEXTS, parameters=10**10),
        replace(TEXTS, problem="next_token", task="causal_lm", parameters=500_000_000, classes=None),
        replace(TEXTS, problem="next_token", task="causal_lm", classes=None),
        replace(TEXTS, problem="tagging", task="token_classification", classes=None),
        PICTURES,
        replace(PICTURES, probe=KNOWN),
        replace(SOUNDS, probe=KNOWN),
    ]
    assert {advise(one).rule for one in facts} == {rule.when for rule in TABLE}


@pytest.mark.parametrize(
    ("facts", "method"),
    [
        (TEXTS, "full"),
        (replace(TEXTS, parameters=131_000_000), "lora"),
        (replace(TEXTS, parameters=131_000_000, device="gpu", memory=8 * GIB), "full"),
        (replace(TEXTS, parameters=900_000_000, device="gpu", memory=8 * GIB), "lora"),
        (replace(TEXTS, parameters=65 * 10**9, device="gpu", memory=48 * GIB), "qlora"),
        (replace(TEXTS, memory=GIB // 4), "lora"),
        (replace(PICTURES, probe=KNOWN), "last_blocks"),
        (replace(SOUNDS, probe=KNOWN), "head"),
        (replace(SOUNDS, probe=UNKNOWN), "full"),
        (replace(TEXTS, probe=KNOWN), "full"),
        (replace(TEXTS, rows=400, probe=KNOWN), "lora"),
        (replace(TEXTS, rows=400, probe=UNKNOWN), "full"),
    ],
)
def test_the_size_of_the_model_and_the_machine_decide(facts: Facts, method: str) -> None:
    assert advise(facts).first.method == method


def test_a_probe_tells_near_from_far() -> None:
    assert replace(PICTURES, probe=KNOWN).near
    assert not replace(PICTURES, probe=UNKNOWN).near
    assert not PICTURES.near
    assert KNOWN.gain == pytest.approx(0.85 / 0.9)
    assert Probe(score=1.0, majority=1.0, rows=9).gain == 0.0
    assert 0 < NEAR_TEXTS < NEAR < 1
    middling = Probe(score=0.8, majority=0.1, rows=400)
    assert not replace(PICTURES, probe=middling).near
    assert replace(TEXTS, probe=middling).near


def test_runs_of_few_rows_are_longer_and_those_of_many_are_as_ever() -> None:
    assert epochs_for("full", 4000) == 3
    assert epochs_for("full", 500) == 7
    assert epochs_for("full", 50) == 20
    assert epochs_for("head", 4000) == 5
    assert epochs_for("full", 500, batch=64) == 20
    few, many = advise(replace(TEXTS, rows=500)), advise(TEXTS)
    assert few.first.epochs == 7
    assert "3 epochs would be 96 steps, 7 are 224" in few.notes[0]
    assert many.first.epochs is None
    assert many.notes == ()


def test_many_classes_make_a_run_longer() -> None:
    assert epochs_for("full", 700, classes=2) == epochs_for("full", 700) == 5
    assert epochs_for("full", 700, classes=70) == 20
    assert epochs_for("full", 7000, classes=150) == 5
    assert epochs_for("full", 7000, classes=6) == 3
    many = advise(replace(TEXTS, rows=7000, classes=150, rarest=40))
    assert many.first.epochs == 5
    assert "150 classes are many for 7,000 rows: 3 epochs would see 140 of each, 5 see 233" in many.notes[0]


def test_a_pick_says_itself_as_a_recipe() -> None:
    assert Pick("full").recipe == {"method": {"name": "full"}}
    pick = Pick("lora", {"rank": 8}, epochs=4)
    assert pick.recipe == {"method": {"name": "lora", "rank": 8}, "training": {"epochs": 4}}
    assert str(pick) == "lora, rank 8, 4 epochs"
    assert Pick("full", steps=50).recipe["training"] == {"steps": 50}


PACE = Pace(step=1.0, epoch=10.0, once=20.0)


def test_a_run_takes_its_steps_and_evaluations() -> None:
    facts = replace(TEXTS, rows=160)
    assert length_of(Pick("full"), facts) == 30
    assert takes(Pick("full"), PACE, facts) == 20 + 30 + 3 * 10
    assert takes(Pick("full", steps=15), PACE, facts) == 20 + 15 + 2 * 10


def test_a_budget_shortens_and_never_lengthens() -> None:
    facts, pick = replace(TEXTS, rows=1600), Pick("full")
    # An epoch takes 110 s.
    assert within(pick, PACE, facts, 10_000) == pick
    assert within(pick, PACE, facts, (20 + 220) / 0.9 + 1) == Pick("full", epochs=2)
    assert within(pick, PACE, facts, (20 + 90) / 0.9 + 1) == Pick("full", steps=80)
    assert within(pick, PACE, facts, 50) is None
    assert within(pick, PACE, facts, 1) is None
    for budget in (60, 100, 200, 300, 1000):
        shortened = within(pick, PACE, facts, budget)
        assert shortened is None or takes(shortened, PACE, facts) <= budget


def test_half_of_the_steps_or_two_hundred_are_enough() -> None:
    facts = replace(TEXTS, rows=1600)
    assert enough(Pick("full"), Pick("full", epochs=2), facts)
    assert not enough(Pick("full"), Pick("full", epochs=1), facts)
    assert enough(Pick("full", epochs=20), Pick("full", epochs=2), facts)


def test_what_computes_less_is_tried_after_the_picks_and_nothing_twice() -> None:
    methods = [pick.method for pick in candidates(advise(TEXTS), TEXTS)]
    assert methods == ["full", "lora", "last_blocks", "head"]
    near = replace(SOUNDS, probe=KNOWN)
    assert [pick.method for pick in candidates(advise(near), near)] == ["head", "last_blocks"]


def test_advice_loads_no_torch() -> None:
    code = (
        "import sys; from whet.planning import advise, backbones, budget; "
        "advise.advise(advise.Facts('text_classification', 'single_label', 100, 10**7, 2, 50)); "
        "sys.exit(bool({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("problem", ["next_token", "target_text", "transcript"])
def test_runs_that_learn_to_write_are_no_longer_for_few_rows(problem: str) -> None:
    assert advise(replace(TEXTS, rows=50, problem=problem, classes=None)).first.epochs is None
