"""Settings of where runs are recorded."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from vlm3.config import StrictModel

SERVERS = ("http", "https")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class TrackingConfig(StrictModel):
    """MLflow's store: an embedded SQLite file in the runs folder, or any other store by URI."""

    uri: str | None = None
    """`http(s)://` server (its user or token from MLflow's own MLFLOW_TRACKING_* variables), or a database URI that
    every node reaches; default: MLFLOW_TRACKING_URI, else SQLite in the runs folder, which serves one machine."""
    experiment: Annotated[str, Field(min_length=1, max_length=256)] = "vlm3"
    registered_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")] = "vlm3-depth"
    """Name under which exported models are registered."""

    @field_validator("uri")
    @classmethod
    def _known_store(cls, uri: str | None) -> str | None:
        return None if uri is None else known_store(uri)


def known_store(uri: str) -> str:
    """`uri`, if it names a store that MLflow and every process can open. Raises ValueError, without quoting it."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in SERVERS + DATABASES:
        raise ValueError(
            "expected a URI such as http://127.0.0.1:5000 or sqlite:////path/mlflow.db,"
            f" starting with one of {', '.join(SERVERS + DATABASES)}"
        )
    if scheme in SERVERS and "@" in urlsplit(uri).netloc:
        raise ValueError(
            "expected no user and password in the URI of a server: they come from MLFLOW_TRACKING_USERNAME and"
            " MLFLOW_TRACKING_PASSWORD"
        )
    if scheme == "sqlite" and not uri.partition(":")[2].startswith("////"):
        raise ValueError("expected an absolute path, with four slashes: every process must find the same file")
    return uri
