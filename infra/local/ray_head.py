"""The head of a Ray cluster with token authentication; jobs that are submitted to it log to the stack's MLflow."""

import signal
import sys
from pathlib import Path

from infra.local import tracking
from infra.local.credentials import FOLDER, Credentials
from infra.local.part import HOST, Part, find_command, http_status, inherited
from infra.local.settings import ROOT, Settings

DISCOVERY = "prom_metrics_service_discovery.json"
"""File in Ray's folder that names the addresses of its metrics; Ray keeps it up to date."""

LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "GLOO_SOCKET_IFNAME": "lo"}
"""Ray's processes and those of jobs listen on loopback only, and clients look for them there."""


def url(settings: Settings) -> str:
    """The dashboard, where jobs are submitted."""
    return f"http://{HOST}:{settings.ports.ray_dashboard}"


def part(settings: Settings, credentials: Credentials, folder: Path) -> Part:
    """The head and its node.

    Args:
        settings: of the stack.
        credentials: of the stack.
        folder: for Ray's files, with a path that is short enough for its sockets.
    """
    ports = settings.ports
    options = {
        "num-cpus": settings.cpus,
        "temp-dir": folder,
        "node-ip-address": HOST,
        "port": ports.ray,
        "ray-client-server-port": ports.ray_client,
        "dashboard-host": HOST,
        "dashboard-port": ports.ray_dashboard,
        "dashboard-agent-listen-port": ports.ray_agent,
    }
    start = (find_command("ray", "make setup"), "start", "--head", "--block", "--disable-usage-stats")
    agent = f"http://{HOST}:{ports.ray_agent}/api/local_raylet_healthz"
    return Part(
        name="Ray",
        command=(*start, *(f"--{key}={value}" for key, value in options.items())),
        environment=inherited("MLFLOW_", "RAY_AUTH_TOKEN")
        | tracking.client(settings, credentials)
        | token(settings)
        | LOOPBACK_ONLY
        | {
            "RAY_USAGE_STATS_ENABLED": "0",
            # Beside another Ray, parts of this one would else look for that one.
            "RAY_ADDRESS": f"{HOST}:{ports.ray}",
            "AUTOSCALER_METRIC_PORT": str(ports.ray_autoscaler_metrics),
            "DASHBOARD_METRIC_PORT": str(ports.ray_dashboard_metrics),
            "RAY_PROMETHEUS_HOST": f"http://{HOST}:{ports.prometheus}",
            "PATH": f"{Path(sys.executable).parent}:{inherited().get('PATH', '')}",
        },
        # The dashboard answers before the agent, which starts the jobs.
        healthy=lambda: http_status(f"{url(settings)}/api/gcs_healthz") == http_status(agent) == 200,
        address=url(settings),
        log=settings.logs / "ray.log",
        folder=ROOT,
        # It has nothing to save, and its farewell waits half a minute for its agents.
        stop=signal.SIGKILL,
        grace_s=0,
        deadline_s=180,
    )


def token(settings: Settings) -> dict[str, str]:
    """Variables for whoever talks to this Ray."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(settings.folder / FOLDER / "ray_token")}
