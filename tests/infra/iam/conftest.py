"""A server that enforces one of our policies on this test's process."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests

from tests.storage_fixtures import S3Server

POLICIES = Path(__file__).resolve().parents[3] / "infra" / "iam" / "aws"
Become = Callable[[str, str], None]


def client(service: str, server: S3Server) -> Any:
    """A boto3 client of whoever this process is now."""
    return boto3.session.Session().client(service, endpoint_url=server.endpoint, region_name="us-west-2")


@pytest.fixture
def become(
    moto_server: S3Server, use_s3: Callable[[S3Server], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Become]:
    """Make this process a user who has one policy (its name, its text); from then on the server enforces policies."""
    use_s3(moto_server)

    def reset(path: str, data: str = "") -> None:
        requests.post(f"{moto_server.endpoint}/moto-api/{path}", data=data, timeout=10).raise_for_status()

    def user(policy: str, text: str) -> None:
        iam = client("iam", moto_server)
        iam.create_user(UserName=policy)
        iam.put_user_policy(UserName=policy, PolicyName=policy, PolicyDocument=text)
        key = iam.create_access_key(UserName=policy)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
        # The default session remembers who the process was.
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        reset("reset-auth", "0")

    yield user
    reset("reset-auth", "inf")
    reset("reset")
