"""MLflow's users get the same rights wherever its server runs."""

import configparser
from pathlib import Path

from infra.local import tracking
from infra.local.credentials import FOLDER, Credentials
from infra.local.settings import ROOT, Ports, Settings
from vlm3.config import load_yaml


def default_permission(text: str) -> str:
    """What a user may do with what others have made, as MLflow reads it."""
    config = configparser.ConfigParser()
    config.read_string(text)
    return config["mlflow"]["default_permission"]


def test_every_server_lets_a_user_read_what_others_made_and_no_more(tmp_path: Path) -> None:
    Credentials.of(tmp_path)
    tracking.prepare(Settings(tmp_path, Ports(), 4))
    compose = load_yaml(ROOT / "infra" / "local" / "compose.yaml")
    written = {
        "local": (tmp_path / FOLDER / tracking.CONFIG).read_text(),
        "compose": compose["configs"]["mlflow-auth"]["content"],
        "kuberay": (ROOT / "infra" / "kuberay" / "mlflow" / "basic_auth.ini").read_text(),
    }
    assert {server: default_permission(text) for server, text in written.items()} == dict.fromkeys(written, "READ")
