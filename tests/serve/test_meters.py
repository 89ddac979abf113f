"""What the endpoint answers can be read on Ray's Prometheus endpoint."""

import re
import time

from serve.once import ask
from tests.vlm3.train.test_gauges import scrape
from vlm3.scenes.schema import Frame

POINTS = [[10.0, 20.0], [48.5, 30.25], [5000.0, 3.0]]


def test_answers_are_counted_by_status_and_the_loaded_model_is_named(url: str, frame: Frame) -> None:
    said = [point.status for _ in range(2) for point in ask(url, frame, POINTS).points]
    assert said.count("outside") == 2
    deadline = time.monotonic() + 60
    while not re.search("^ray_vlm3_endpoint_answers_total", text := scrape(), re.MULTILINE):
        assert time.monotonic() < deadline, [line for line in text.splitlines() if "vlm3" in line]
        time.sleep(1)
    lines = [line for line in text.splitlines() if 'application="vlm3-depth"' in line]
    counts = [line for line in lines if line.startswith("ray_vlm3_endpoint_answers_total")]
    by_status = {re.findall(r'\bstatus="(\w+)"', line)[0]: float(line.split()[-1]) for line in counts}
    assert by_status == {status: said.count(status) for status in set(said)}
    (model,) = [line for line in lines if line.startswith("ray_vlm3_endpoint_model")]
    assert 'model="export"' in model and 'model_version="local"' in model and model.endswith(" 1.0")
