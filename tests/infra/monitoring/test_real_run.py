"""A run and a server watched by a real Prometheus: every expression of ours finds its series."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import ray

from infra.local.settings import ROOT
from serve.once import ask
from tests.infra.conftest import Used
from tests.infra.local.stacks import Stack
from tests.infra.monitoring.expressions import Asked, of_alerts, of_panels, rules, selectors
from tests.infra.monitoring.prometheus_server import Prometheus
from tests.our_lines import foreign
from tests.ray_heads import free_ports
from vlm3.scenes.schema import Frame
from vlm3.sources.rooms.reader import RoomsConfig, RoomsReader

pytestmark = [pytest.mark.long, pytest.mark.infra]
SERVED_S = 400

KILLS = "ray_memory_manager_worker_eviction_total"
"""Counted when Ray kills a worker for want of memory, and not there before: asked of Ray's program instead."""
FAILURES = ("status_code", "status")
"""Labels whose values in alerts are failures, which no healthy run has: only that there is such a label is asked."""


@pytest.fixture(scope="module")
def watched(used: Used, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen a short run, and sees a server of the model that the run has registered."""
    with served(used.stack, tmp_path_factory.mktemp("serve")) as url:
        ask_a_little(url)
        # A rate needs a second look at the counters.
        used.watching.wait_for("rate(ray_vlm3_endpoint_answers_total[1m])")
        used.watching.wait_for("rate(ray_serve_http_request_latency_ms_bucket[1m])")
        yield used.watching


@contextmanager
def served(stack: Stack, folder: Path) -> Iterator[str]:
    (port,) = free_ports(1)
    log = folder / "serve.log"
    champion = ["--model", "models:/vlm3-depth@champion", "--port", str(port)]
    with log.open("w") as output:
        job = subprocess.Popen(
            [sys.executable, "jobs/serve_depth.py", *champion],
            cwd=ROOT,
            env=stack.client() | {"RAY_ADDRESS": f"127.0.0.1:{stack.ports.ray}"},
            stdout=output,
            stderr=output,
        )
    try:
        deadline = time.monotonic() + SERVED_S
        while "until Ctrl-C" not in log.read_text():
            assert job.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.3)
        assert foreign(log.read_text()) == [], "also where it fetches the model from the store"
        yield f"http://127.0.0.1:{port}"
    finally:
        job.send_signal(signal.SIGTERM)
        try:
            job.wait(120)
        finally:
            job.kill()


def ask_a_little(url: str) -> None:
    """Good requests, and one that is refused."""
    rooms = RoomsReader(RoomsConfig(scenes=1, frames_per_scene=1, width_px=96, height_px=72))
    frame = next(frame for frame in rooms.frames(rooms.scenes()[0]) if isinstance(frame, Frame))
    for _ in range(5):
        ask(url, frame, [[10.0, 20.0], [48.5, 30.25], [5000.0, 3.0]])
    refused = httpx2.post(f"{url}/v1/depth", files={"points": (None, "[[1, 2]]")}, timeout=60, trust_env=False)
    assert refused.status_code == 422


def lacking(watched: Prometheus, asked: Asked, named: set[str]) -> list[str]:
    """Selectors of an expression that have no series with the labels that it uses, or that are `named`."""
    missing = []
    for selected in selectors(asked.expression):
        # An alert is empty when all is well: of a failure only the label is asked.
        failure = any(f'{label}="' in selected.text or f'{label}=~"' in selected.text for label in FAILURES)
        series = watched.series(selected.metric if failure else selected.text)
        labels = selected.labels if " by (" in asked.expression else selected.labels | named
        if selected.metric != KILLS and not any(labels <= set(each) for each in series):
            missing.append(f"{asked.who}: {selected.text} with {sorted(labels)}")
    return missing


def test_every_panel_finds_its_series(watched: Prometheus) -> None:
    def empty() -> list[str]:
        return [f"{asked.who}: {asked.expression}" for asked in of_panels() if not watched.series(asked.expression)]

    deadline = time.monotonic() + 60
    while empty() and time.monotonic() < deadline:  # the server goes on; what it does appears a little later
        time.sleep(2)
    assert "\n".join(empty()) == ""
    assert "\n".join(line for asked in of_panels() for line in lacking(watched, asked, set())) == ""
    assert watched.series(of_panels()[0].expression.replace("wait_share", "wait_shares")) == []


def test_every_alert_asks_about_series_that_exist(watched: Prometheus) -> None:
    missing: list[str] = []
    for asked, rule in zip(of_alerts(), rules(), strict=True):
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        missing += lacking(watched, asked, named)
    assert "\n".join(missing) == ""
    misspelt = Asked("planted", 'sum by (SessionName, NodeAdress) (ray_object_store_memory{Location="SPILLED"}) > 0')
    assert len(lacking(watched, misspelt, set())) == 1


def test_a_worker_killed_for_memory_is_counted_under_the_name_that_the_alert_asks_for() -> None:
    assert any(each.metric == KILLS for asked in of_alerts() for each in selectors(asked.expression))
    program = Path(ray.__file__).parent / "core" / "src" / "ray" / "raylet" / "raylet"
    # Ray puts ray_ before, and _total behind the name of a counter.
    assert KILLS.removeprefix("ray_").removesuffix("_total").encode() in program.read_bytes()


def test_no_alert_fires_about_a_run_and_a_server_that_are_well(watched: Prometheus) -> None:
    states = {rule["name"]: (rule["state"], rule["health"]) for rule in watched.rules()}
    assert len(states) == len(rules())
    assert {name: health for name, (_, health) in states.items() if health != "ok"} == {}
    # The machine that runs the tests may be short of memory or disk itself.
    ours = {name for name in states if not name.startswith("Node")}
    assert [name for name in sorted(ours) if states[name][0] == "firing"] == []
