"""Publishes the figures of a step on Ray's Prometheus endpoint. Only this module and `worker.py` use Ray here."""

import re

from ray.util.metrics import Gauge


class StepGauges:
    """One gauge per figure, named `vlm3_…`; the components share the gauge of a figure and differ by a tag."""

    def __init__(self, run: str) -> None:
        """Make the gauges of the run with this name."""
        self._run = run
        self._gauges: dict[str, Gauge] = {}

    def __call__(self, figures: dict[str, float]) -> None:
        """Publish the figures of a step."""
        for name, value in figures.items():
            group, _, rest = name.partition("/")
            component, _, figure = rest.rpartition("/")
            gauge = self._gauge(f"vlm3_{group}_{figure}", bool(component))
            tags = {"run": self._run} | ({"component": component} if component else {})
            gauge.set(value, tags=tags)

    def _gauge(self, name: str, by_component: bool) -> Gauge:
        name = re.sub(r"\W", "_", name)
        if name not in self._gauges:
            keys = ("run", "component") if by_component else ("run",)
            self._gauges[name] = Gauge(name, description=f"figure {name} of the last training step", tag_keys=keys)
        return self._gauges[name]
