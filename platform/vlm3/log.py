"""The log of every process: short lines in a format that a job's terminal recognises when another process writes it."""

import logging
import os
import re
from typing import Final

PACKAGES: Final = ("vlm3", "pipelines", "serve", "jobs")
FORMATTER: Final = logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s", "%H:%M:%S")
LINE: Final = re.compile(rf"\d\d:\d\d:\d\d (?P<level>[IWEC]) (?P<name>(?:{'|'.join(PACKAGES)})[\w.]*): (?P<text>.*)")
"""Matches a line that FORMATTER made for one of our loggers."""


def get_logger(name: str) -> logging.Logger:
    """The logger of a module. A process calls `configure()` or `send_to()` once; library code only logs."""
    return logging.getLogger(name)


def configure(level: str | None = None) -> None:
    """Send our log at `level` (default: VLM3_LOG_LEVEL or INFO) to stderr. For the processes that a job starts."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTER)
    send_to(handler, level)


def send_to(handler: logging.Handler, level: str | None = None) -> None:
    """Send all messages of our loggers at `level` (default: VLM3_LOG_LEVEL or INFO) and above to `handler`."""
    for package in PACKAGES:
        root = logging.getLogger(package)
        root.setLevel(level or os.environ.get("VLM3_LOG_LEVEL", "INFO"))
        root.handlers[:] = [handler]
        root.propagate = False
