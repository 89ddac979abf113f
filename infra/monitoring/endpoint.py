"""Dashboard "Endpoint": which model answers, how fast, and can its answers be read?"""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from infra.monitoring.panels import APPLICATION, SESSION, Bounds, Panel, Query, chart, choice, dashboard, figure

SLOW_MS = 10_000
"""As of the alert EndpointIsSlow."""
UNREADABLE = Bounds(0.1)
"""As of the alert AnswersCannotBeRead."""
WAITING = 32
"""Requests that may wait in the proxy, and as many in a replica: `MAX_WAITING` in serve/app.py."""
STATES = ("unknown", "deploy failed", "unhealthy", "updating", "upscaling", "downscaling", "healthy")


def build() -> Dashboard:
    """The dashboard."""
    about = "The server of docs/serving.md: requests, answers, replicas."
    replicas = choice("application", "Application", "ray_serve_deployment_replica_healthy", "application")
    rows = {"Now": _now(), "Requests": _requests(), "Answers": _answers()}
    return dashboard("vlm3-endpoint", "VLM3 endpoint", about, replicas, rows)


def _now() -> list[Panel]:
    return [
        figure(
            "Model, and replicas that have it loaded",
            "More than one model means that a deployment is under way: see the alert ReplicasHaveDifferentModels.",
            "none",
            Query(
                f"count by (model, model_version) (ray_vlm3_endpoint_model{{{APPLICATION}}})",
                "{{model}} version {{model_version}}",
            ),
            width=6,
            named=True,
        ),
        figure(
            "State",
            "Of each deployment.",
            "none",
            Query(f"min by (application) (ray_serve_deployment_status{{{APPLICATION}}})", "{{application}}"),
            width=6,
            bounds=Bounds(3, bad_above=False),
            texts=dict(enumerate(STATES)),
        ),
        figure(
            "Healthy replicas",
            "As many as replicas= asks for.",
            "none",
            Query(f"sum(ray_serve_deployment_replica_healthy{{{APPLICATION}}})", "healthy"),
            width=4,
            bounds=Bounds(1, bad_above=False),
        ),
        figure(
            "Requests in flight",
            "Being answered, or waiting.",
            "none",
            Query(f"sum(ray_serve_num_ongoing_http_requests{{{SESSION}}})", "in flight"),
            width=4,
            bounds=Bounds(WAITING),
        ),
        figure(
            "Answers that are no length",
            "Share of the answers about points inside the image that are unreadable or cut.",
            "percentunit",
            _unreadable(),
            width=4,
            bounds=UNREADABLE,
        ),
    ]


def _requests() -> list[Panel]:
    count = f"ray_serve_num_http_requests_total{{{APPLICATION}}}"
    waiting = f"sum by (application) (ray_serve_deployment_queued_queries{{{APPLICATION}}})"
    return [
        chart(
            "Requests by status",
            "503: the model is not loaded, or too many wait. 4xx: the client sent something wrong. 500: a bug.",
            "reqps",
            Query(f"sum by (method, status_code) (rate({count}[$__rate_interval]))", "{{method}} {{status_code}}"),
        ),
        chart(
            "Time to answer a POST",
            "With waiting, as the client sees it.",
            "ms",
            *(
                Query(_quantile(q, f'ray_serve_http_request_latency_ms_bucket{{{APPLICATION},method="POST"}}'), name)
                for q, name in ((0.5, "half of them"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            bounds=Bounds(SLOW_MS),
        ),
        chart(
            "Requests that wait, and that replicas hold",
            "A replica answers one request after another. Beyond the line a further request gets 503.",
            "short",
            Query(waiting, "{{application}} waiting"),
            Query(
                f"sum by (application) (ray_serve_replica_processing_queries{{{APPLICATION}}})",
                "{{application}} in replicas",
            ),
            bounds=Bounds(WAITING),
        ),
        chart(
            "Time in the replica",
            "Without waiting in the proxy; 95 %.",
            "ms",
            Query(
                _quantile(0.95, f"ray_serve_deployment_processing_latency_ms_bucket{{{APPLICATION}}}", "route"),
                "{{route}}",
            ),
        ),
    ]


def _answers() -> list[Panel]:
    answers = f"sum by (status) (rate(ray_vlm3_endpoint_answers_total{{{APPLICATION}}}[$__rate_interval]))"
    return [
        chart(
            "Answers about points by status",
            "ok, unreadable (no length), cut (too long), outside (the point is not in the image).",
            "suffix: /s",
            Query(answers, "{{status}}"),
        ),
        chart(
            "Answers that are no length",
            "Of those about points inside the image. Where it grows, the pictures or the model have changed.",
            "percentunit",
            _unreadable(),
            bounds=UNREADABLE,
        ),
    ]


def _unreadable() -> Query:
    def rate(statuses: str) -> str:
        return f"sum by (application) (rate(ray_vlm3_endpoint_answers_total{{{APPLICATION},{statuses}}}[15m]))"

    bad, all_inside = rate('status=~"unreadable|cut"'), rate('status!="outside"')
    # No unreadable answer so far is 0, and not nothing.
    return Query(f"({bad} or 0 * {all_inside}) / {all_inside}", "{{application}}")


def _quantile(share: float, metric: str, *labels: str) -> str:
    by = ", ".join((*labels, "le"))
    return f"histogram_quantile({share}, sum by ({by}) (rate({metric}[$__rate_interval])))"
