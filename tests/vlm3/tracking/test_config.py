"""The store's URI is checked before anything is written."""

import pytest

from vlm3.errors import ConfigError
from vlm3.tracking.config import TrackingConfig


def test_default_is_the_embedded_store():
    config = TrackingConfig.parse({}, "test")
    assert (config.uri, config.experiment, config.registered_model) == (None, "vlm3", "vlm3-depth")


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "https://mlflow.example", "sqlite:////x/y.db", "postgresql+psycopg2://u@h/db"]
)
def test_servers_and_databases_are_accepted(uri: str):
    assert TrackingConfig.parse({"uri": uri}, "test").uri == uri


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "s3://bucket/runs", ""])
def test_other_stores_are_refused_with_an_example(uri: str):
    with pytest.raises(ConfigError, match=r"uri: .*http://127.0.0.1:5000 or sqlite:"):
        TrackingConfig.parse({"uri": uri}, "test")


@pytest.mark.parametrize("uri", ["sqlite:///runs/mlflow.db", "sqlite://"])
def test_a_relative_sqlite_file_is_refused_because_workers_have_other_folders(uri: str):
    with pytest.raises(ConfigError, match="four slashes"):
        TrackingConfig.parse({"uri": uri}, "test")


def test_a_misspelt_key_names_the_right_one():
    with pytest.raises(ConfigError, match="did you mean 'experiment'"):
        TrackingConfig.parse({"experimnet": "x"}, "test")
