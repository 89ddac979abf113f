"""Secrets for compose.yaml: `python -m infra.local.compose` writes one file of variables for each service."""

from infra.local import s3
from infra.local.credentials import ADMIN, FOLDER, Credentials, write_private
from infra.local.settings import settings_from_environment
from vlm3 import terminal
from vlm3.job import run_job


def variables(credentials: Credentials) -> dict[str, dict[str, str]]:
    """Service: its secret variables."""
    s3_keys = {"AWS_ACCESS_KEY_ID": credentials.s3_key_id, "AWS_SECRET_ACCESS_KEY": credentials.s3_secret}
    return {
        "postgres": {"POSTGRES_PASSWORD": credentials.postgres_password},
        # The value is a list in CSV, of pairs with a comma in them.
        "s3": {"RCLONE_AUTH_KEY": f"'{s3.auth_key(credentials)}'"},
        "mlflow": {
            "PGPASSWORD": credentials.postgres_password,
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": credentials.mlflow_password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": credentials.mlflow_session_key,
            "AWS_DEFAULT_REGION": s3.REGION,
            "AWS_REQUEST_CHECKSUM_CALCULATION": s3.CHECKSUMS,
        }
        | s3_keys,
        "ray": {
            "RAY_AUTH_TOKEN": credentials.ray_token,
            "MLFLOW_TRACKING_USERNAME": ADMIN,
            "MLFLOW_TRACKING_PASSWORD": credentials.mlflow_password,
        },
    }


def main() -> None:
    """Write the files."""
    terminal.start()
    folder = settings_from_environment().folder
    for service, values in variables(Credentials.of(folder)).items():
        lines = [f"{name}={value}\n" for name, value in values.items()]
        write_private(folder / FOLDER / f"compose-{service}.env", "".join(lines))
    terminal.say(f"secrets: {folder / FOLDER}; go on with: docker compose -f infra/local/compose.yaml up --wait")


if __name__ == "__main__":
    run_job(main)
