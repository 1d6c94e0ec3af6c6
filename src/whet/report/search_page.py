"""The page of a search for settings: one file without a script that opens anywhere, in English or Korean.

Pure rendering of values; knows no engine and no run folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from whet.report.plot import STYLE, Axis, Line, Plot, Points, Shade, around, bars
from whet.report.search import ranked, short, spelled
from whet.report.writing import duration, plain, score
from whet.run.tuning import LATE, WORSE, Trial, Tuning

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Search for settings",
        "head": "{method} on {data}: {count} trials in {time}",
        "best": "Trial {number} is the best: {metric} {value} on the validation rows",
        "none": "No trial has come to its end yet",
        "lucky": "As the best of {count} it was lucky, too: expect less on new rows.",
        "test": "On the test rows, which no trial has seen, it has {value}.",
        "first": "Trial 0, the recipe as it was, has {value} there.",
        "history": "How the search went",
        "trial": "trial",
        "so_far": "best so far",
        "importance": "How much each setting mattered",
        "fanova": "Share of the differences between the finished trials that each setting explains (fANOVA).",
        "slices": "Score by setting",
        "curves": "Learning curves",
        "share": "share of the run",
        "table": "All trials",
        "state": "state",
        "time": "time",
        "settings": "settings",
        "running": "running",
        "finished": "finished",
        "pruned": "broken off",
        "failed": "failed",
        "searched": "What was searched",
        "worse": "worse than the median of the others at this point",
        "late": "the time was used up",
    },
    "ko": {
        "title": "설정 탐색",
        "head": "{data}에 대한 {method}: 시도 {count}회, {time}",
        "best": "가장 좋은 시도는 {number}번: 검증 데이터에서 {metric} {value}",
        "none": "아직 끝난 시도가 없습니다",
        "lucky": "{count}회 가운데 가장 좋은 것이므로 운도 따랐습니다. 새 데이터에서는 이보다 낮을 수 있습니다.",
        "test": "어느 시도도 보지 않은 시험 데이터에서는 {value}입니다.",
        "first": "처음 레시피 그대로인 0번 시도는 같은 데이터에서 {value}입니다.",
        "history": "탐색 과정",
        "trial": "시도",
        "so_far": "지금까지의 최고",
        "importance": "설정별 중요도",
        "fanova": "끝난 시도들의 점수 차이 가운데 각 설정이 설명하는 몫입니다(fANOVA).",
        "slices": "설정별 점수",
        "curves": "학습 곡선",
        "share": "진행 비율",
        "table": "모든 시도",
        "state": "상태",
        "time": "시간",
        "settings": "설정",
        "running": "진행 중",
        "finished": "완료",
        "pruned": "중단",
        "failed": "실패",
        "searched": "탐색한 범위",
        "worse": "이 시점에서 다른 시도들의 중앙값보다 낮음",
        "late": "시간을 다 씀",
    },
}

CSS = """
:root{--ground:#fff;--ink:#1b2230;--quiet:#5b6678;--line:#e3e8f0;--a:#2563eb;--b:#d97706;--c:#94a3b8;--card:#f7f9fc}
@media (prefers-color-scheme:dark){:root{--ground:#12161f;--ink:#e7ebf3;--quiet:#9aa6ba;--line:#2a3242;--a:#7aa5ff;
--b:#f5b454;--c:#64748b;--card:#1a2030}}
body{background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,"Apple SD Gothic Neo",sans-serif;margin:0 auto;
padding:1.5rem;max-width:60rem;word-break:keep-all;overflow-wrap:anywhere}
h1{font-size:1.5rem;margin:0 0 .25rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}
.quiet{color:var(--quiet)}.verdict{background:var(--card);border-left:4px solid var(--a);padding:.8rem 1rem;
margin:1rem 0;border-radius:.3rem}.verdict strong{font-size:1.1rem}
.slices{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1rem}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.88rem}th,td{text-align:left;padding:.3rem .6rem;
border-bottom:1px solid var(--line);vertical-align:top}
th,td.number,td.state{white-space:nowrap}td.number{text-align:right;font-variant-numeric:tabular-nums}
tr.best{font-weight:600}tr.failed td{color:var(--quiet)}code{font-size:.9em}
@media print{body{max-width:none}}
"""


def page(tuning: Tuning) -> str:
    """A search as HTML, whether it has come to its end or not."""
    words = WORDS[tuning.plan.language]
    blocks = [_verdict(tuning, words), _history(tuning, words), _importance(tuning, words), _slices(tuning, words)]
    blocks += [_curves(tuning, words), _searched(tuning, words), _table(tuning, words)]
    head = words["head"].format(
        method=tuning.method, data=plain(tuning.data), count=len(tuning.trials), time=duration(tuning.seconds)
    )
    command = f"<p><code>{escape(plain(tuning.command))}</code></p>" if tuning.command else ""
    return (
        f'<!doctype html><html lang="{tuning.plan.language}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(words['title'])}</title><style>{CSS}{STYLE}</style></head><body>"
        f"<h1>{escape(words['title'])}</h1>"
        f'<p class="quiet">{escape(head)}</p>{command}{"".join(blocks)}</body></html>\n'
    )


def _verdict(tuning: Tuning, words: Mapping[str, str]) -> str:
    best = next((trial for trial in tuning.trials if trial.number == tuning.best), None)
    if best is None or best.score is None:
        return f'<div class="verdict"><strong>{escape(words["none"])}</strong></div>'
    told = words["best"].format(number=best.number, metric=tuning.metric, value=score(best.score))
    lines = [words["lucky"].format(count=len(tuning.trials))] if best.number else []
    for number, word in ((best.number, "test"), (0, "first")):
        value = tuning.tested.get(number, {}).get(tuning.metric)
        if value is not None and (word == "test" or best.number):
            lines.append(words[word].format(value=score(value)))
    rest = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        f'<div class="verdict"><strong>{escape(plain(told))}</strong>'
        f"<p><code>{escape(plain(spelled(best.settings)))}</code></p>{rest}</div>"
    )


def _history(tuning: Tuning, words: Mapping[str, str]) -> str:
    finished = [trial for trial in tuning.trials if trial.score is not None]
    broken = [trial for trial in tuning.trials if trial.score is None and trial.course]
    if not finished:
        return ""
    best: list[tuple[float, float]] = []
    for trial in finished:
        value = _score(trial)
        before = best[-1][1] if best else value
        better = max(before, value) if tuning.more_is_better else min(before, value)
        if best:
            best.append((float(trial.number), before))
        best.append((float(trial.number), better))
    best.append((float(tuning.trials[-1].number), best[-1][1]))
    heights = [_score(trial) for trial in (*finished, *broken)]
    drawn = Plot(
        words["history"],
        Axis(words["trial"], -0.5, max(1.0, tuning.trials[-1].number + 0.5)),
        Axis(tuning.metric, *around(heights)),
        lines=[Line(best, "b", told=words["so_far"])],
        points=[_points(broken, "c", tuning), _points(finished, "a", tuning)],
    )
    return f"<h2>{escape(words['history'])}</h2>{drawn.svg()}"


def _importance(tuning: Tuning, words: Mapping[str, str]) -> str:
    if not tuning.importance:
        return ""
    values = sorted(((short(path), share) for path, share in tuning.importance.items()), key=lambda one: -one[1])
    drawn = bars(words["importance"], values)
    return f'<h2>{escape(words["importance"])}</h2>{drawn}<p class="quiet">{escape(words["fanova"])}</p>'


def _slices(tuning: Tuning, words: Mapping[str, str]) -> str:
    finished = [trial for trial in tuning.trials if trial.score is not None]
    if len(finished) < 2:
        return ""
    drawn = []
    for path, text in tuning.plan.spaces.items():
        shown = [trial for trial in finished if path in trial.settings]
        if "*" not in text and shown:
            drawn.append(_slice(path, shown, tuning).svg())
    return f'<h2>{escape(words["slices"])}</h2><div class="slices">{"".join(drawn)}</div>'


def _slice(path: str, trials: Sequence[Trial], tuning: Tuning) -> Plot:
    """Score of the trials by one of their settings."""
    values = [trial.settings[path] for trial in trials]
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    many = ".." in tuning.plan.spaces[path] and len(numbers) == len(values)
    if many:
        ends = [float(end) for end in tuning.plan.spaces[path].split("..")]
        low, high = min(*numbers, *ends), max(*numbers, *ends)
        log = low > 0 and high >= 10 * low
        across = Axis(short(path), low, high, log=log)
        places = numbers
    else:
        names = [word.strip() for word in tuning.plan.spaces[path].split(",")]
        known = {_word(value): value for value in values}
        names = [name for name in names if name in known] + [name for name in known if name not in names]
        across = Axis(short(path), -0.5, len(names) - 0.5, names=names)
        places = [float(names.index(_word(value))) for value in values]
    at = [(place, _score(trial)) for place, trial in zip(places, trials, strict=True)]
    told = [_told(trial, tuning) for trial in trials]
    up = Axis(tuning.metric, *around([y for _, y in at]))
    return Plot(short(path), across, up, points=[Points(at, "a", told)], width=300, height=200)


def _curves(tuning: Tuning, words: Mapping[str, str]) -> str:
    curved = [trial for trial in tuning.trials if len(trial.course) > 1]
    if not curved:
        return ""
    heights = [value for trial in curved for _, value in trial.course]
    ordered = sorted(curved, key=lambda trial: trial.number == tuning.best)
    shades: dict[int | None, Shade] = {tuning.best: "b"}
    drawn = Plot(
        words["curves"],
        Axis(words["share"], 0.0, 1.0),
        Axis(tuning.metric, *around(heights)),
        lines=[
            Line(t.course, shades.get(t.number, "c"), thin=t.number != tuning.best, told=_told(t, tuning))
            for t in ordered
        ],
    )
    return f"<h2>{escape(words['curves'])}</h2>{drawn.svg()}"


def _searched(tuning: Tuning, words: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(path)}</code></td><td><code>{escape(plain(text))}</code></td></tr>"
        for path, text in tuning.plan.spaces.items()
    )
    return f'<h2>{escape(words["searched"])}</h2><div class="wide"><table>{rows}</table></div>'


def _table(tuning: Tuning, words: Mapping[str, str]) -> str:
    heads = (words["trial"], tuning.metric, words["state"], words["time"], words["settings"])
    rows = []
    for trial in ranked(tuning):
        value = "" if trial.score is None else score(trial.score)
        settings = escape(plain(spelled(trial.settings)))
        told = {WORSE: words["worse"], LATE: words["late"]}.get(trial.reason, trial.reason)
        reason = f'<br><span class="quiet">{escape(plain(told))}</span>' if told else ""
        kind = "best" if trial.number == tuning.best else trial.state
        rows.append(
            f'<tr class="{kind}"><td class="number">{trial.number}</td><td class="number">{value}</td>'
            f'<td class="state">{escape(words[trial.state])}</td><td class="number">{duration(trial.seconds)}</td>'
            f"<td>{settings}{reason}</td></tr>"
        )
    head = "".join(f"<th>{escape(one)}</th>" for one in heads)
    return f'<h2>{escape(words["table"])}</h2><div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _points(trials: Sequence[Trial], shade: Shade, tuning: Tuning) -> Points:
    return Points([(float(t.number), _score(t)) for t in trials], shade, [_told(t, tuning) for t in trials])


def _told(trial: Trial, tuning: Tuning) -> str:
    return f"{trial.number}: {tuning.metric} {score(_score(trial))}, {plain(spelled(trial.settings))}"


def _score(trial: Trial) -> float:
    """At the end, or where a trial was broken off."""
    return trial.course[-1][1] if trial.score is None else trial.score


def _word(value: object) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else f"{value}"
    )
