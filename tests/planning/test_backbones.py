"""Models to begin with: for every task and language, and languages told apart."""

import re

import pytest

from whet import catalog
from whet.planning.backbones import BACKBONES, Language, language_of, suggest, why_embedded


@pytest.mark.parametrize("task", catalog.names("task"))
@pytest.mark.parametrize("language", ["English", "Korean", "other", None])
def test_there_is_a_small_model_for_every_task_and_language(task: str, language: Language | None) -> None:
    if language is None and task in ("text_classification", "token_classification", "causal_lm", "seq2seq"):
        return
    found = suggest(task, language, at_most=600)
    assert found
    assert all(task in one.tasks for one in found)


def test_entries_are_names_of_the_hub_with_licence_and_size() -> None:
    assert len({one.name for one in BACKBONES}) == len(BACKBONES)
    for one in BACKBONES:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", one.name)
        assert one.licence
        assert 1 < one.parameters < 1000
        assert set(one.tasks) <= set(catalog.names("task"))


def test_models_of_the_language_come_before_those_of_many_and_small_ones_first() -> None:
    korean = suggest("text_classification", "Korean")
    own = [one for one in korean if one.language == "Korean"]
    assert korean[: len(own)] == own
    assert [one.parameters for one in own] == sorted(one.parameters for one in own)
    assert not any(one.language == "English" for one in korean)
    assert all(one.parameters <= 100 for one in suggest("text_classification", "English", at_most=100))


@pytest.mark.parametrize(
    ("texts", "language"),
    [
        (["What is the capital of France?", "I lost my card"], "English"),
        (["이 영화는 정말 재미있어요", "MacBook Pro 환불 문의 드립니다"], "Korean"),
        (["Der Film war sehr schlecht", "Wo liegt München"], "other"),
        (["これは本です"], "other"),
        (["12345", "..."], "other"),
        ([], "other"),
    ],
)
def test_languages_are_told_apart(texts: list[str], language: str) -> None:
    assert language_of(texts) == language


def test_korean_texts_are_told_what_would_suit_them_better() -> None:
    told = why_embedded("text_classification", ["이 영화는 정말 재미있어요"] * 5)
    assert "Korean" in told
    assert "--model klue/roberta-small" in told
    assert why_embedded("text_classification", ["this is the film"]) == "no model was named: this one is embedded"
