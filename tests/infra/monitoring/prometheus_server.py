"""A real Prometheus on loopback with our configuration, and questions to it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from pipelines.cluster import free_port
from tests.infra.monitoring.expressions import MONITORING
from tests.left_out import need_command

Labels = dict[str, str]


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str
    since_s: float
    """Unix time of its start."""

    def series(self, expression: str) -> list[Labels]:
        """Labels of all series that an expression had at some moment since the start."""
        range_ = {"start": str(self.since_s), "end": str(time.time()), "step": "1"}
        data: dict[str, Any] = self._ask("query_range", query=expression, **range_)
        return [series["metric"] for series in data["result"]]

    def rules(self) -> list[dict[str, Any]]:
        """All alerts and their states."""
        return [rule for group in self._ask("rules")["groups"] for rule in group["rules"]]

    def wait_for(self, expression: str, patience_s: float = 60) -> None:
        """Wait until an expression has a series."""
        deadline = time.monotonic() + patience_s
        while not self.series(expression):
            assert time.monotonic() < deadline, f"no series of {expression}: {self.known('ray_vlm3')}"
            time.sleep(0.5)

    def known(self, beginning: str) -> list[str]:
        """Names of metrics that begin so."""
        names: list[str] = self._ask("label/__name__/values")
        return [name for name in names if name.startswith(beginning)]

    def _ask(self, path: str, **parameters: str) -> Any:
        answer = httpx2.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]


@contextmanager
def prometheus(ray_folder: Path, folder: Path, every: str = "2s") -> Iterator[Prometheus]:
    """Our configuration, for the Ray of this --temp-dir, and with this interval; what it stores lies in `folder`."""
    port, since_s = free_port(), time.time()
    text = (MONITORING / "prometheus.yml").read_text()
    for ours, here in (("/tmp/ray/", f"{ray_folder}/"), ("127.0.0.1:9090", f"127.0.0.1:{port}"), (" 10s", f" {every}")):
        assert ours in text
        text = text.replace(ours, here)
    (folder / "prometheus.yml").write_text(text)
    (folder / "rules").symlink_to(MONITORING / "rules")
    command = [need_command("prometheus"), f"--config.file={folder / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        deadline = time.monotonic() + 60
        while not _ready(f"http://127.0.0.1:{port}"):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "prometheus.log").read_text()[
                -3000:
            ]
            time.sleep(0.2)
        yield Prometheus(f"http://127.0.0.1:{port}", since_s)
    finally:
        server.terminate()
        server.wait(30)


def _ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/-/ready", timeout=5, trust_env=False).status_code == 200
    except httpx2.TransportError:
        return False
