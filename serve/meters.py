"""What a replica answers, and with which model, on Ray's Prometheus endpoint."""

from collections import Counter as Tally
from collections.abc import Iterable

from ray.serve.metrics import Counter, Gauge

from serve.schemas import ModelInfo


class EndpointMeters:
    """The meters of one replica, made inside it: Ray Serve adds its deployment, replica and application as tags."""

    def __init__(self) -> None:
        self._answers = Counter(
            "vlm3_endpoint_answers", description="answers about a point, by status", tag_keys=("status",)
        )
        self._model = Gauge(
            "vlm3_endpoint_model",
            description="1 for the model that the replica has loaded",
            tag_keys=("model", "model_version"),
        )

    def loaded(self, model: ModelInfo) -> None:
        """The replica has loaded this model; it never loads another."""
        self._model.set(1, tags={"model": model.name, "model_version": model.version})

    def answered(self, statuses: Iterable[str]) -> None:
        """Count the answers of a request by their status, one of those of `PointDepth`."""
        for status, number in Tally(statuses).items():
            self._answers.inc(number, tags={"status": status})
