"""The demo as a newcomer sees it, with a training of few steps."""

import json
import re
from pathlib import Path

import pytest

from tests.job_runs import OWN_RAY, run_job
from tests.our_lines import foreign

SMALL = (
    "sources.rooms.render.scenes=24",
    "sources.studios.render.scenes=24",
    "sources.test_rooms.render.scenes=6",
    "train.steps=4",
    "train.global_batch=16",
    "train.checkpoint_every_steps=4",
    "evaluation.every_steps=4",
    "evaluation.images=4",
)
MOST_LINES, COLUMNS = 80, 100


@pytest.mark.long
def test_the_demo_tells_its_story_in_few_lines_and_in_its_own_words(tmp_path: Path) -> None:
    options = [word for setting in SMALL for word in ("--set", setting)]
    done = run_job(OWN_RAY, "demo", *options, timeout_s=1500, VLM3_RUNS=str(tmp_path), COLUMNS=str(COLUMNS))
    assert done.returncode == 0, done.stderr[-3000:]
    shown = done.stderr + done.stdout
    assert len(shown.splitlines()) <= MOST_LINES
    assert foreign(done.stderr) == foreign(done.stdout) == []
    assert not re.search(r"[\r\x1b]", shown), "no bars and no colours where nobody sees them"
    told = [line for line in done.stdout.splitlines() if not re.match(r"how far is |[a-zA-Z ]+: +/", line)]
    assert max(map(len, told)) <= COLUMNS, "but for the answer and for paths, which can be copied"
    for part in ("start Ray", "data", "train, evaluate, register", "search the mixture", "serve one answer"):
        assert re.search(rf"^{part} ─+$", done.stdout, re.M), part
    for said in (r"how far is the point of test_rooms/.* truth [\d.]+ m", r"│ loss, first → last +│ [\d.]+ → [\d.]+"):
        assert re.search(said, done.stdout), said
    pictures = re.findall(r"^(?:what it was|answers).*: +(/.*\.png)$", done.stdout, re.M)
    assert len(pictures) == 3 and all(Path(picture).is_file() for picture in pictures)
    summary = json.loads(next((tmp_path / "demo").glob("*/summary.json")).read_text())
    assert summary["gain"] == pytest.approx(summary["delta1"] - summary["delta1_constant"])
    assert summary["interval"][0] <= summary["gain"] <= summary["interval"][1]
    assert sum(summary["seconds"].values()) == pytest.approx(summary["seconds_in_all"], abs=0.5)
    (log,) = (tmp_path / "train").glob("demo-*/log/*.log")
    assert f"what libraries print: {log}" in done.stderr
    assert "RayTrainWorker" in log.read_text(), "what Ray says is kept"
