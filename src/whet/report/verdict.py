"""The verdict of a comparison in words, in English or Korean; says no more than the rows can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from whet.report.writing import duration, score
from whet.run.comparison import Against, Candidate, Comparison, Interval, Verdict, unbeaten

Language: TypeAlias = Literal["en", "ko"]

SIDES: Mapping[Language, Mapping[str, str]] = {
    "en": {"test": "test rows", "validation": "validation rows"},
    "ko": {"test": "테스트 행", "validation": "검증 행"},
}

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "Nothing can be said yet: the comparison is not finished.",
        "alone": "{best} is the only one that came to the end: {score} on {rows}.",
        "clear": "{best} wins: {score} on {rows}. Its lead over {second} is {lead}, more than noise{test}.",
        "level": "There is no winner: {best} has the best score, {score} on {rows}, and {others} cannot be told apart "
        "from it.",
        "lead": "{best} leads {other} by {lead}{test}: {inside}.",
        "inside": "inside the noise",
        "outside": "more than noise",
        "cheapest": "Take {cheapest}: of those that cannot be told apart it is the fastest, {time} against {best_time} "
        "for {best}.",
        "cheapest_best": "Take {best}: of those that cannot be told apart it is also the fastest, {time}.",
        "beaten": "It is better than every baseline by more than noise; the best of them is {baseline} with {score}.",
        "not_beaten": "It is NOT better by more than noise than {baselines}; that takes no fine-tuning.",
        "no_baselines": "There is no baseline with this metric.",
        "dropped": "Dropped on the way, as they were behind on the validation rows: {names}. What they would have come "
        "to, --exhaustive tells.",
        "dropped_one": "{name} after {step} of {steps} steps",
        "failed": "{name} failed: {reason}.",
        "one_seed": "Each was tried with one seed; another seed may change the order. --seeds 3 would tell.",
        "validation": "There are no test rows: these rows also picked the best weights, so all scores are a little too "
        "good.",
        "finding": "{id}, a likely cause of its score: {what}; try {fix}.",
        "p": ", McNemar p = {p}",
        "range": "{value} ({low} to {high})",
        "and": " and ",
    },
    "ko": {
        "none": "비교가 아직 끝나지 않아 말할 수 있는 것이 없습니다.",
        "alone": "끝까지 간 것은 하나뿐입니다: {best}, {rows}에서 {score}.",
        "clear": "우승: {best}. {rows}에서 {score}. 2위 {second}보다 {lead} 앞서며, 잡음보다 큰 차이입니다{test}.",
        "level": "우승자가 없습니다. 점수가 가장 높은 것은 {best}({rows}에서 {score})이지만, 다음과 구별되지 않습니다: "
        "{others}.",
        "lead": "{best} 대 {other}: 차이 {lead}{test}, {inside}.",
        "inside": "잡음 안의 차이",
        "outside": "잡음보다 큰 차이",
        "cheapest": "추천: {cheapest}. 구별되지 않는 것들 가운데 가장 빠릅니다({time}; {best}: {best_time}).",
        "cheapest_best": "추천: {best}. 구별되지 않는 것들 가운데 가장 빠르기도 합니다({time}).",
        "beaten": "모든 기준선보다 잡음 이상으로 낫습니다. 가장 좋은 기준선: {baseline}, {score}.",
        "not_beaten": "미세 조정이 필요 없는 다음 기준선보다 잡음 이상으로 낫지 않습니다: {baselines}.",
        "no_baselines": "이 지표로 잰 기준선이 없습니다.",
        "dropped": "검증 행에서 뒤처져 도중에 탈락: {names}. 끝까지 갔을 때의 점수는 --exhaustive로 알 수 있습니다.",
        "dropped_one": "{name} ({steps} 스텝 중 {step} 스텝 뒤)",
        "failed": "{name} 실패: {reason}.",
        "one_seed": "각각 시드 하나로만 해 보았습니다. 시드가 바뀌면 순서가 달라질 수 있으니 --seeds 3으로 확인하세요.",
        "validation": "테스트 행이 없습니다. 이 행들로 가장 좋은 가중치도 골랐으므로 모든 점수가 조금 높게 나옵니다.",
        "finding": "{id}, 점수의 원인일 수 있음: {what}; 해 볼 것: {fix}",
        "p": ", 맥니마 검정 p = {p}",
        "range": "{value} ({low} ~ {high})",
        "and": ", ",
    },
}


def sentences(comparison: Comparison, language: Language = "en") -> list[str]:
    """The verdict, the most important first; never a winner whose lead is inside the noise."""
    words, verdict = WORDS[language], comparison.verdict
    if verdict is None:
        return [words["none"]]
    told = [_headline(comparison, verdict, language)]
    told += _advice(comparison, verdict, words)
    told += [_lead(one, verdict, words) for one in _left_to_tell(verdict)]
    told.append(_of_baselines(comparison, words))
    if dropped := _ended(comparison, "dropped"):
        names = ", ".join(
            words["dropped_one"].format(name=one.name, step=f"{_last(one):,}", steps=f"{one.attempts[0].steps:,}")
            for one in dropped
        )
        told.append(words["dropped"].format(names=names))
    for one in _ended(comparison, "failed"):
        reason = next(attempt.reason for attempt in one.attempts if attempt.state == "failed")
        told.append(words["failed"].format(name=one.name, reason=reason.rstrip(".")))
    if comparison.measured == "validation":
        told.append(words["validation"])
    if all(len(one.attempts) == 1 for one in comparison.candidates):
        told.append(words["one_seed"])
    told += [words["finding"].format(id=one.id, what=one.what, fix=one.fix) for one in verdict.findings]
    return told


def _headline(comparison: Comparison, verdict: Verdict, language: Language) -> str:
    words = WORDS[language]
    count = comparison.rows[comparison.measured]
    side = SIDES[language][comparison.measured]
    rows = f"{count:,} {side}" if language == "en" else f"{side} {count:,}개"
    told = f"{comparison.metric} {_range(verdict.scores[verdict.best], words)}"
    if not verdict.against:
        return words["alone"].format(best=verdict.best, score=told, rows=rows)
    second = _second(verdict, comparison.more_is_better)
    if verdict.clear:
        lead, test = _range(second.difference, words), _tested(second, words)
        return words["clear"].format(
            best=verdict.best, score=told, rows=rows, second=second.candidate, lead=lead, test=test
        )
    others = [one.candidate for one in verdict.against if one.same]
    return words["level"].format(best=verdict.best, score=told, rows=rows, others=_joined(others, words))


def _advice(comparison: Comparison, verdict: Verdict, words: Mapping[str, str]) -> list[str]:
    """Which of those that are level to take."""
    if verdict.clear:
        return []
    times = {one.name: sum(attempt.seconds for attempt in one.attempts) for one in comparison.candidates}
    time, best_time = duration(times[verdict.cheapest]), duration(times[verdict.best])
    if verdict.cheapest == verdict.best:
        return [words["cheapest_best"].format(best=verdict.best, time=time)]
    return [words["cheapest"].format(cheapest=verdict.cheapest, best=verdict.best, time=time, best_time=best_time)]


def _left_to_tell(verdict: Verdict) -> list[Against]:
    """Leads that the headline did not tell."""
    return verdict.against if not verdict.clear else []


def _lead(one: Against, verdict: Verdict, words: Mapping[str, str]) -> str:
    inside = words["inside" if one.same else "outside"]
    lead, test = f"{_range(one.difference, words)}", _tested(one, words)
    return words["lead"].format(best=verdict.best, other=one.candidate, lead=lead, test=test, inside=inside)


def _of_baselines(comparison: Comparison, words: Mapping[str, str]) -> str:
    known = {n: scores[comparison.metric] for n, scores in comparison.baselines.items() if comparison.metric in scores}
    if not known:
        return words["no_baselines"]
    if left := unbeaten(comparison):
        told = [f"{name} ({score(known[name])})" for name in left]
        return words["not_beaten"].format(baselines=_joined(told, words))
    best = (max if comparison.more_is_better else min)(known, key=lambda name: known[name])
    return words["beaten"].format(baseline=best, score=score(known[best]))


def _second(verdict: Verdict, more_is_better: bool) -> Against:
    sign = 1 if more_is_better else -1
    return max(verdict.against, key=lambda one: sign * verdict.scores[one.candidate].value)


def _ended(comparison: Comparison, state: str) -> list[Candidate]:
    """Candidates that failed, or were dropped without a failure."""
    failed = [one for one in comparison.candidates if any(attempt.state == "failed" for attempt in one.attempts)]
    if state == "failed":
        return failed
    return [
        one
        for one in comparison.candidates
        if one not in failed and any(attempt.state == state for attempt in one.attempts)
    ]


def _last(one: Candidate) -> int:
    return max(attempt.step for attempt in one.attempts)


def _tested(one: Against, words: Mapping[str, str]) -> str:
    if one.p_value is None:
        return ""
    return words["p"].format(p=f"{one.p_value:.2g}" if one.p_value >= 0.001 else "< 0.001").replace("= <", "<")


def _range(interval: Interval, words: Mapping[str, str]) -> str:
    return words["range"].format(value=score(interval.value), low=score(interval.low), high=score(interval.high))


def _joined(names: Sequence[str], words: Mapping[str, str]) -> str:
    return ", ".join(names[:-1]) + words["and"] + names[-1] if len(names) > 1 else names[0]
