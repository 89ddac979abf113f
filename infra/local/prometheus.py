"""Prometheus: the metrics of Ray, and so those of jobs and servers on it."""

from pathlib import Path

from infra.local.part import HOST, Part, find_command, http_status, inherited
from infra.local.ray_head import DISCOVERY
from infra.local.settings import ROOT, Settings
from vlm3.config import dump_yaml

RULES = ROOT / "infra" / "monitoring" / "rules" / "*.yml"
KEPT = "30d"


def part(settings: Settings) -> Part:
    """The server; its configuration exists, once `prepare` has been called."""
    address = f"{HOST}:{settings.ports.prometheus}"
    options = {
        "config.file": _config(settings),
        "storage.tsdb.path": settings.folder / "prometheus",
        "storage.tsdb.retention.time": KEPT,
        "web.listen-address": address,
    }
    return Part(
        name="Prometheus",
        command=(
            find_command("prometheus", "apt-get install prometheus"),
            *(f"--{key}={value}" for key, value in options.items()),
        ),
        environment=inherited("MLFLOW_", "AWS_", "RAY_"),
        healthy=lambda: http_status(f"http://{address}/-/ready") == 200,
        address=f"http://{address}",
        log=settings.logs / "prometheus.log",
        folder=settings.folder,
    )


def prepare(settings: Settings, ray_folder: Path) -> None:
    """Write what is scraped: Prometheus itself, and all that Ray's file of addresses names."""
    # Ray's file is a link, and Prometheus is not told when what it leads to changes: it looks again every 10 s.
    found = {"files": [str(ray_folder / DISCOVERY)], "refresh_interval": "10s"}
    jobs = [
        {"job_name": "prometheus", "static_configs": [{"targets": [f"{HOST}:{settings.ports.prometheus}"]}]},
        {"job_name": "ray", "file_sd_configs": [found]},
    ]
    every = {"scrape_interval": "10s", "evaluation_interval": "10s"}
    _config(settings).write_text(
        dump_yaml({"global": every, "rule_files": [str(RULES)], "scrape_configs": jobs}), encoding="utf-8"
    )


def _config(settings: Settings) -> Path:
    return settings.folder / "prometheus.yml"
