"""Decisions, results and problems at 80 columns."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from whet.core import Choice, Scores
from whet.errors import DataError
from whet.report.terminal import Results, decisions, problems, results


def screen(terminal: bool = False) -> Console:
    return Console(file=StringIO(), width=80, force_terminal=terminal, legacy_windows=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def one_line(text: str) -> str:
    return " ".join(text.split())


def accuracy(value: float) -> Scores:
    return {"log_loss": 0.3, "macro_f1": value, "weighted_f1": value, "matthews": value, "accuracy": value}


RESULTS = Results(
    validation=accuracy(0.9052),
    test=accuracy(0.91),
    baselines={"majority": accuracy(0.5), "tfidf": accuracy(0.83)},
    metric="accuracy",
    trainable=1_200_000,
    total=22_700_000,
    seconds=200.0,
    peak_memory_bytes=1_300_000_000,
    folder=Path("runs/reviews"),
    next_commands=['whet predict runs/reviews "a [bold]fine[/bold] film"', "whet report runs/reviews"],
    test_rows=1000,
)


def told(table: Results) -> str:
    console = screen()
    results(console, table)
    return one_line(printed(console))


# --- decisions ------------------------------------------------------------------------------------------------


def test_what_the_data_told_comes_first_and_what_the_user_gave_is_left_out() -> None:
    console = screen()
    choices = [
        Choice("method", {"name": "lora", "rank": 16}, "default", "trains little"),
        Choice("data.train", "reviews.csv", "given"),
        Choice("data.text", ("first", "second"), "inferred", "the text columns"),
        Choice("training.epochs", 3, "default"),
        Choice("training.checkpoint_every", None, "default"),
        Choice("training.learning_rate", 2e-4, "default"),
    ]
    decisions(console, choices)
    text = one_line(printed(console))
    assert text == (
        "Decided for you data.text first, second the text columns trains little: method lora, rank 16 "
        "default: training.epochs 3, training.checkpoint_every none, training.learning_rate 0.0002"
    )


def test_nothing_decided_prints_nothing() -> None:
    console = screen()
    decisions(console, [Choice("seed", 1, "given")])
    assert printed(console) == ""


def test_long_values_are_cut_in_the_middle_and_long_reasons_wrapped() -> None:
    console = screen()
    decisions(console, [Choice("model", "/home/someone/models/" + "x" * 60 + "/mini", "inferred", "because " * 20)])
    lines = printed(console).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" in lines[1]
    assert "/mini" in lines[1]
    assert "/home" in lines[1]
    assert one_line(printed(console)).count("because") == 20


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_and_commands_in_the_users_data_are_only_text(terminal: bool) -> None:
    console = screen(terminal)
    decisions(console, [Choice("data.text", "[red]x", "inferred", "see [/oops] \x1b[2J")])
    text = printed(console)
    assert "[red]x" in text
    assert "[/oops]" in text
    assert "\x1b[2J" not in text


# --- results --------------------------------------------------------------------------------------------------


def test_the_closing_table_has_the_chosen_metric_first_and_three_more() -> None:
    console = screen()
    results(console, RESULTS)
    lines = [line.split() for line in printed(console).splitlines()]
    assert lines[1] == ["accuracy", "log_loss", "macro_f1", "weighted_f1"]
    assert lines[2] == ["this", "model,", "test", "0.9100", "0.3000", "0.9100", "0.9100"]
    assert lines[3][:4] == ["this", "model,", "validation", "0.9052"]
    assert lines[4][:6] == ["always", "the", "most", "frequent", "answer", "0.5000"]
    assert lines[5][:5] == ["TF-IDF", "+", "logistic", "regression", "0.8300"]
    assert max(map(len, printed(console).splitlines())) <= 80


def test_what_the_run_cost_and_what_comes_next() -> None:
    text = told(RESULTS)
    assert "trained 1.2 M of 22.7 M parameters (5.3%)" in text
    assert "took 3 min 20 s, 1.2 GiB of memory at the peak" in text
    assert "saved in runs/reviews" in text
    assert 'Next whet predict runs/reviews "a [bold]fine[/bold] film" whet report runs/reviews' in text


def test_a_clear_gain_is_told_in_points_with_its_standard_error() -> None:
    # Errors of the two shares: sqrt((0.91 * 0.09 + 0.83 * 0.17) / 1000) = 0.01493.
    assert (
        "Better than the best baseline, TF-IDF + logistic regression, by 8.0 points of accuracy "
        "(standard error 1.5 points, 1,000 test rows)." in told(RESULTS)
    )


@pytest.mark.parametrize(("value", "side"), [(0.84, "better by 1.0"), (0.82, "worse by 1.0"), (0.83, "better by 0.0")])
def test_a_difference_within_one_standard_error_is_no_difference(value: float, side: str) -> None:
    text = told(replace(RESULTS, test=accuracy(value)))
    assert f"Not told apart from the best baseline, TF-IDF + logistic regression: {side} points of accuracy" in text
    assert "within one standard error (1.7 points, 1,000 test rows)" in text


def test_a_model_that_is_worse_hears_it() -> None:
    text = told(replace(RESULTS, test=accuracy(0.6)))
    assert "WORSE than the best baseline, TF-IDF + logistic regression, by 23.0 points of accuracy" in text


def test_a_metric_of_which_less_is_better_is_told_in_its_own_unit() -> None:
    def scores(error: float) -> Scores:
        return {"pearson": 0.5, "spearman": 0.5, "r2": 0.2, "mean_squared_error": error, "mean_absolute_error": 1.0}

    table = replace(
        RESULTS,
        validation=scores(0.3),
        test=scores(0.25),
        baselines={"majority": scores(2.0), "tfidf": scores(1.5)},
        metric="mean_squared_error",
        more_is_better=False,
    )
    assert "Better than the best baseline, TF-IDF + ridge regression, by 1.2500 in mean_squared_error." in told(table)
    assert "always the mean" in told(table)
    worse = replace(table, test=scores(4.0))
    assert "WORSE than the best baseline, TF-IDF + ridge regression, by 2.5000 in mean_squared_error." in told(worse)
    assert "No better than the best baseline" in told(replace(table, test=scores(1.5)))
    console = screen()
    results(console, table)
    assert max(map(len, printed(console).splitlines())) <= 80


def test_without_test_rows_nothing_is_claimed() -> None:
    text = told(replace(RESULTS, test={}, baselines={}, test_rows=0))
    assert "There were no test rows" in text
    assert "this model, test" not in text
    assert "etter than" not in text


def test_without_a_baseline_for_the_metric_nothing_is_compared() -> None:
    assert "There is no baseline to compare accuracy with." in told(replace(RESULTS, baselines={}))
    assert "There is no baseline to compare roc_auc with." in told(replace(RESULTS, metric="roc_auc"))


def test_a_long_folder_stays_in_one_piece() -> None:
    console = screen()
    folder = Path("runs") / ("x" * 100)
    results(console, replace(RESULTS, folder=folder))
    assert str(folder) in printed(console)


# --- problems -------------------------------------------------------------------------------------------------


def test_each_problem_is_one_bullet_in_its_own_words() -> None:
    console = screen()
    long = f"row 17 of reviews.csv: label '{'a long name ' * 12}' is unknown"
    problems(console, DataError("column 'lable' not in reviews.csv; did you mean 'label'?", long, "text [red]x\x1b[2J"))
    assert printed(console).splitlines() == [
        "• column 'lable' not in reviews.csv; did you mean 'label'?",
        f"• {long}",
        "• text [red]x\ufffd[2J",
    ]


def test_problems_are_red_in_a_terminal() -> None:
    console = screen(terminal=True)
    problems(console, DataError("no rows in reviews.csv"))
    assert "\x1b[31m" in printed(console)


def test_an_error_without_words_still_has_a_name() -> None:
    console = screen()
    problems(console, DataError())
    assert printed(console) == "• DataError\n"
