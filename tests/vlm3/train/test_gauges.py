"""Figures of training steps on Ray's own Prometheus endpoint."""

import re
import time
import urllib.request

import ray

from vlm3.train.gauges import StepGauges


def scrape() -> str:
    (node,) = [node for node in ray.nodes() if node["Alive"]]
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_a_steps_figures_can_be_scraped_with_run_and_component(ray_session: None) -> None:
    publish = StepGauges("indoor")
    publish({"train/loss": 1.5, "mixture/rooms/depth/realised": 0.7, "mixture/yard/depth/realised": 0.3})
    publish({"train/loss": 1.25, "mixture/rooms/depth/realised": 0.5, "mixture/yard/depth/realised": 0.5})
    deadline = time.monotonic() + 60
    # The figures of the first step may be exported before those of the second.
    while not re.search("^ray_vlm3_mixture_realised.* 0.5$", text := scrape(), re.MULTILINE):
        assert time.monotonic() < deadline, [line for line in text.splitlines() if "vlm3" in line]
        time.sleep(1)
    lines = [line for line in text.splitlines() if line.startswith("ray_vlm3_")]
    (loss,) = [line for line in lines if line.startswith("ray_vlm3_train_loss")]
    assert 'run="indoor"' in loss and loss.endswith(" 1.25")
    shares = [line for line in lines if line.startswith("ray_vlm3_mixture_realised")]
    assert {'component="rooms/depth"' in line for line in shares} == {True, False}
    assert all(line.endswith(" 0.5") for line in shares)
