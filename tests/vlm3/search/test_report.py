"""The report says what was tried, what won, and how to train it."""

import csv
import io
from pathlib import Path

import pytest
from matplotlib.image import imread
from rich.console import Console

from vlm3.config import load_yaml
from vlm3.search.report import mixtures_figure, results_csv, results_markdown, results_table, write_report
from vlm3.search.space import MixtureSpace
from vlm3.search.trials import Trial, TrialState

METRIC = "eval/*/delta1"
SPACE = MixtureSpace.of(
    {"rooms": 1.0, "other": 4.0, "7scenes": 1.0, "hololens": 2.0}, ("rooms", "7scenes", "hololens"), 0.0
)
TRIALS = [
    Trial(0, (0.25, 0.25, 0.5), TrialState.FINISHED, 0.41, run_id="aaa", seconds=60.2),
    Trial(1, (0.3333, 0.3333, 0.3334), TrialState.FAILED, error="no data | really"),
    Trial(2, (0.6, 0.3, 0.1), TrialState.FINISHED, 0.55, run_id="ccc", seconds=58.0),
]


def test_overlay_is_the_winner_in_recipe_weights(tmp_path: Path):
    overlay = write_report(tmp_path / "s", SPACE, TRIALS, METRIC, "max")
    assert load_yaml(overlay) == {
        "sources": {"rooms": {"weight": 2.4}, "7scenes": {"weight": 1.2}, "hololens": {"weight": 0.4}}
    }
    assert overlay.read_text().startswith("# eval/*/delta1 0.5500 in trial 2 of 3")


def test_smaller_may_be_better(tmp_path: Path):
    overlay = write_report(tmp_path, SPACE, TRIALS, "eval/*/abs_rel", "min")
    assert load_yaml(overlay)["sources"]["hololens"]["weight"] == 2.0


def test_csv_has_every_trial_best_first():
    rows = list(csv.DictReader(io.StringIO(results_csv(SPACE, TRIALS, "max"))))
    assert [row["trial"] for row in rows] == ["2", "0", "1"]
    assert float(rows[0]["score"]) == 0.55 and float(rows[0]["rooms"]) == 0.6 and rows[0]["run_id"] == "ccc"
    assert rows[2] | {"state": "failed", "score": "", "error": "no data | really"} == rows[2]


def test_markdown_is_one_well_formed_table():
    lines = results_markdown(SPACE, TRIALS, METRIC, "max").splitlines()
    assert len(lines) == 5
    assert {line.replace(r"\|", "").count("|") for line in lines} == {8}


def test_terminal_table_names_sources_scores_and_failures():
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(results_table(SPACE, TRIALS, METRIC, "max"))
    text = console.export_text()
    for part in ("hololens", "0.5500", "0.4100", "failed", "no data | really"):
        assert part in text


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [2, 3, 12])
def test_picture_draws_every_finished_trial(count: int, tmp_path: Path):
    names = {f"source{n}": 1.0 for n in range(count)}
    space = MixtureSpace.of(names, (), 0.0)
    trials = [Trial(n, space.propose([], n, "max"), TrialState.FINISHED, 0.1 * n) for n in range(4)]
    figure = mixtures_figure(space, [*trials, Trial(4, space.given, TrialState.FAILED, error="x")], METRIC, "max")
    figure.savefig(tmp_path / "f.png", dpi=50)
    bars = figure.axes[0]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["trial 3", "trial 2", "trial 1", "trial 0"]
    assert len(bars.patches) == 4 * count
    assert (len(figure.axes) > 1) == (count == 3)
    assert imread(tmp_path / "f.png").std() > 0
