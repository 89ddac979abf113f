"""The policies for S3, enforced by a server: what each lets the storage layer and MLflow do, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.infra.iam.conftest import POLICIES, Become, client
from tests.storage_fixtures import S3Server, make_bucket
from vlm3.storage.failures import StorageError
from vlm3.storage.store import Store, open_store

SOURCES, RUNS = "vlm3-sources", "vlm3-runs"
OPERATIONS: dict[str, Callable[[Store], object]] = {
    "read": lambda store: store.read("there"),
    "read_range": lambda store: store.read_range("there", 0, 2),
    "exists": lambda store: store.exists("absent"),
    "size": lambda store: store.size("there"),
    "list": lambda store: store.list(),
    "check": lambda store: store.check(),
    "write_atomic": lambda store: store.write_atomic("new", b"data"),
    "delete": lambda store: store.delete("there"),
}
READING = {"read", "read_range", "exists", "size", "list", "check"}
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("read-sources", SOURCES): READING,
    ("read-sources", RUNS): set(),
    ("write-sources", SOURCES): READING | {"write_atomic", "delete"},
    ("write-sources", RUNS): set(),
    ("write-runs", RUNS): READING | {"write_atomic"},
    ("write-runs", SOURCES): set(),
}


@pytest.fixture
def become_with_buckets(become: Become, moto_server: S3Server) -> Callable[[str], None]:
    """`become`, where both buckets hold an object."""
    for name in (SOURCES, RUNS):
        make_bucket(moto_server, name)
        open_store(f"s3://{name}").write_atomic("there", b"data")

    def one_with(policy: str) -> None:
        text = (POLICIES / f"{policy}.json").read_text(encoding="utf-8")
        # To AWS, HeadBucket needs ListBucket; this server asks for a right of its own name.
        become(policy, text.replace('"s3:ListBucket"', '"s3:ListBucket", "s3:HeadBucket"'))

    return one_with


def test_every_operation_of_a_store_is_in_the_table() -> None:
    methods = {name for name in vars(Store) if not name.startswith("_") and callable(getattr(Store, name))}
    assert methods == OPERATIONS.keys()


@pytest.mark.parametrize("policy", ["read-sources", "write-sources", "write-runs"])
def test_a_policy_allows_what_its_role_does_and_nothing_else(
    policy: str, become_with_buckets: Callable[[str], None]
) -> None:
    become_with_buckets(policy)
    for bucket in (SOURCES, RUNS):
        store, done = open_store(f"s3://{bucket}"), set()
        for name, operation in OPERATIONS.items():
            try:
                operation(store)
                done.add(name)
            except StorageError as error:
                assert "refuses access" in str(error), error
        assert done == ALLOWED[policy, bucket], f"{policy} on {bucket}"


def test_mlflow_writes_and_reads_artifacts_also_in_parts_but_deletes_none(
    moto_server: S3Server,
    become_with_buckets: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mlflow.store.artifact.s3_artifact_repo import S3ArtifactRepository

    large = tmp_path / "model.safetensors"
    large.write_bytes(bytes(9 * 2**20))  # boto3 sends from 8 MiB on in parts
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", moto_server.endpoint)
    become_with_buckets("write-runs")
    repository = S3ArtifactRepository(f"s3://{RUNS}/1/artifacts")
    repository.log_artifact(str(large))
    assert [(file.path, file.file_size) for file in repository.list_artifacts()] == [(large.name, 9 * 2**20)]
    assert Path(repository.download_artifacts(large.name)).stat().st_size == 9 * 2**20
    with pytest.raises(ClientError, match="AccessDenied"):
        client("s3", moto_server).delete_object(Bucket=RUNS, Key="there")
