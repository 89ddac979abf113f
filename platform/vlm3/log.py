"""One log for every process: short lines, which the terminal of a job knows again when they come from elsewhere."""

import logging
import os
import re
from typing import Final

PACKAGES: Final = ("vlm3", "pipelines", "serve", "jobs")
FORMATTER: Final = logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s", "%H:%M:%S")
LINE: Final = re.compile(rf"\d\d:\d\d:\d\d (?P<level>[IWEC]) (?P<name>(?:{'|'.join(PACKAGES)})[\w.]*): (?P<text>.*)")
"""A line of FORMATTER by one of our loggers."""


def get_logger(name: str) -> logging.Logger:
    """The logger of a module. Processes call `configure()` or `send_to()` once; libraries only log."""
    return logging.getLogger(name)


def configure(level: str | None = None) -> None:
    """Send our log to stderr at `level` (default: VLM3_LOG_LEVEL or INFO): for processes that a job starts."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTER)
    send_to(handler, level)


def send_to(handler: logging.Handler, level: str | None = None) -> None:
    """Let `handler` have all that our loggers say at `level` and above (default: VLM3_LOG_LEVEL or INFO)."""
    for package in PACKAGES:
        root = logging.getLogger(package)
        root.setLevel(level or os.environ.get("VLM3_LOG_LEVEL", "INFO"))
        root.handlers[:] = [handler]
        root.propagate = False
