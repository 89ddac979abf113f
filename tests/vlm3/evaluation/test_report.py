"""Scores on the terminal, in Markdown and in JSON."""

import json
from io import StringIO

from rich.console import Console

from vlm3.evaluation.report import Coverage, Report, Score

REPORT = Report(
    "models:/m@champion",
    (Coverage("rooms", 10, 0), Coverage("ibims", 30, 2)),
    (
        Score("rooms", "depth", "model", "delta1", 0.71234, 0.65, 0.78),
        Score("rooms", "depth", "model", "abs_rel", float("nan"), float("nan"), float("nan")),
        Score("rooms", "depth", "best constant", "delta1", 0.3),
        Score("rooms", "pose", "model", "rotation_mean_deg", 12.345, 10.0, 15.0),
        Score("ibims", "depth", "model", "delta1", 0.5, 0.4, 0.6),
    ),
)


def test_a_table_a_task_with_baselines_beside_the_model() -> None:
    text = REPORT.to_markdown()
    assert "| rooms | model | 0.712 [0.650, 0.780] | – |" in text
    assert "| rooms | best constant | 0.300 |" in text
    assert "| rooms | model | 12.3 [10.0, 15.0] |" in text
    assert text.index("## depth") < text.index("## pose")
    assert "* ibims: 2 bad rows of 30 left out" in text and "rooms: 0" not in text
    console = Console(width=200, record=True, file=StringIO())
    for table in REPORT.tables():
        console.print(table)
    assert "0.712 [0.650, 0.780]" in console.export_text()


def test_json_is_json_whatever_the_figures_are() -> None:
    plain = json.loads(REPORT.to_json())
    assert plain["scores"][1]["value"] is None and plain["scores"][0]["low"] == 0.65
    assert plain["coverage"][1] == {"benchmark": "ibims", "rows": 30, "skipped": 2}


def test_figures_for_the_dashboard_are_the_models_own() -> None:
    assert REPORT.metrics() == {
        "rooms/depth/delta1": 0.71234,
        "rooms/pose/rotation_mean_deg": 12.345,
        "ibims/depth/delta1": 0.5,
    }
