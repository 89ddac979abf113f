"""What the endpoint answers can be read on Ray's Prometheus endpoint."""

import re
import time
from collections import Counter

from serve.once import ask
from tests.vlm3.train.test_gauges import scrape
from vlm3.scenes.schema import Frame

POINTS = [[10.0, 20.0], [48.5, 30.25], [5000.0, 3.0]]
Series = tuple[str, str]
"""Replica and status."""


def labelled(text: str, metric: str) -> list[tuple[dict[str, str], float]]:
    """Labels and values of the lines of a metric."""
    lines = [line for line in text.splitlines() if line.startswith(f"{metric}{{")]
    return [(dict(re.findall(r'(\w+)="([^"]*)"', line)), float(line.split()[-1])) for line in lines]


def counted(text: str) -> dict[Series, float]:
    answers = labelled(text, "ray_vlm3_endpoint_answers_total")
    return {(labels["replica"], labels["status"]): value for labels, value in answers}


def test_answers_are_counted_by_status_and_the_loaded_model_is_named(url: str, frame: Frame) -> None:
    # Ray keeps what replicas before this one have counted.
    before = counted(scrape())
    said = Counter(point.status for _ in range(2) for point in ask(url, frame, POINTS).points)
    assert said["outside"] == 2 and said.total() == 6
    deadline = time.monotonic() + 60
    while True:
        text = scrape()
        new = {series: value - before.get(series, 0) for series, value in counted(text).items()}
        new = {series: value for series, value in new.items() if value}
        if {status: value for (_, status), value in new.items()} == said:
            break
        assert time.monotonic() < deadline, (said, new)
        time.sleep(1)
    (replica,) = {replica for replica, _ in new}
    models = [(labels, value) for labels, value in labelled(text, "ray_vlm3_endpoint_model")]
    ((labels, value),) = [(labels, value) for labels, value in models if labels["replica"] == replica]
    assert (labels["application"], labels["model"], labels["model_version"]) == ("vlm3-depth", "export", "local")
    assert value == 1
