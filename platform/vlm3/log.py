"""One logging setup for every process: short lines on stderr."""

import logging
import os


def get_logger(name: str) -> logging.Logger:
    """The logger of a module. Jobs call `configure()` once; libraries only log."""
    return logging.getLogger(name)


def configure(level: str | None = None) -> None:
    """Send vlm3's log to stderr at `level` (default: VLM3_LOG_LEVEL or INFO)."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(name)s: %(message)s", "%H:%M:%S"))
    for package in ("vlm3", "pipelines", "serve", "jobs"):
        root = logging.getLogger(package)
        root.setLevel(level or os.environ.get("VLM3_LOG_LEVEL", "INFO"))
        root.handlers[:] = [handler]
        root.propagate = False
