"""MLflow: runs and models in PostgreSQL, artifacts in S3; clients need only MLflow's user and password."""

import sys

from infra.local import postgres, s3
from infra.local.credentials import ADMIN, FOLDER, Credentials, write_private
from infra.local.part import HOST, Part, http_status, inherited
from infra.local.settings import Settings

CONFIG = "mlflow-auth.ini"


def url(settings: Settings) -> str:
    """Where clients and people find it."""
    return f"http://{HOST}:{settings.ports.mlflow}"


def part(settings: Settings, credentials: Credentials) -> Part:
    """The server, one process of it: on a busy machine MLflow ends those of several that answer late."""
    options = {
        "app-name": "basic-auth",
        "host": HOST,
        "port": settings.ports.mlflow,
        "workers": 1,
        "backend-store-uri": postgres.uri(settings),
        "artifacts-destination": f"s3://{s3.BUCKET}",
    }
    return Part(
        name="MLflow",
        command=(sys.executable, "-m", "mlflow", "server", *(f"--{key}={value}" for key, value in options.items())),
        environment=inherited("MLFLOW_", "AWS_", "PG")
        | postgres.login(settings)
        | s3.client(settings, credentials)
        | {
            "MLFLOW_S3_ENDPOINT_URL": s3.url(settings),
            "MLFLOW_AUTH_CONFIG_PATH": str(settings.folder / FOLDER / CONFIG),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": credentials.mlflow_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": credentials.mlflow_session_key,
            # Jobs of the server itself, which we use none of: 2 GB of memory.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        },
        healthy=lambda: http_status(f"{url(settings)}/health") == 200,
        address=url(settings),
        log=settings.logs / "mlflow.log",
        folder=settings.folder,
        deadline_s=180,
    )


def client(settings: Settings, credentials: Credentials) -> dict[str, str]:
    """Variables for a job that logs to it."""
    return {
        "MLFLOW_TRACKING_URI": url(settings),
        "MLFLOW_TRACKING_USERNAME": ADMIN,
        "MLFLOW_TRACKING_PASSWORD": credentials.mlflow_password,
    }


def prepare(settings: Settings) -> None:
    """Write the file that keeps users in the same database; a team sees its results, each changes only its own."""
    values = {
        "default_permission": "READ",
        "database_uri": postgres.uri(settings),
        "authorization_function": "mlflow.server.auth:authenticate_request_basic_auth",
    }
    lines = "".join(f"{key} = {value}\n" for key, value in values.items())
    write_private(settings.folder / FOLDER / CONFIG, f"[mlflow]\n{lines}")
