"""The policies as they are written: exactly these rights, on resources that are named."""

import json
from pathlib import Path

import pytest
from ray.autoscaler.tags import TAG_RAY_CLUSTER_NAME
from ruamel.yaml import YAML

IAM = Path(__file__).resolve().parents[3] / "infra" / "iam"
AWS_ACTIONS = {
    "read-sources": {"s3:GetObject", "s3:ListBucket"},
    "write-sources": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"},
    "write-runs": {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "s3:ListBucket"},
    "start-workers": {
        "ec2:DescribeInstances",
        "ec2:RunInstances",
        "ec2:CreateTags",
        "ec2:TerminateInstances",
        "iam:PassRole",
    },
}
READ_OBJECTS = {"storage.objects.get", "storage.objects.list"}
WRITE_IN_PARTS = {"storage.multipartUploads.create", "storage.multipartUploads.abort", "storage.objects.create"}
GCP_PERMISSIONS = {
    "read-sources": READ_OBJECTS,
    "write-sources": READ_OBJECTS | {"storage.buckets.get", "storage.objects.create", "storage.objects.delete"},
    "write-runs": READ_OBJECTS | WRITE_IN_PARTS,
    "start-workers": {
        "compute.disks.create",
        "compute.images.useReadOnly",
        "compute.subnetworks.use",
        "compute.zoneOperations.get",
        *(f"compute.instances.{verb}" for verb in ("create", "delete", "get", "list")),
        *(f"compute.instances.set{what}" for what in ("Labels", "Metadata", "ServiceAccount", "Tags")),
    },
}


def statements(policy: str) -> list[dict[str, list[str]]]:
    read = json.loads((IAM / "aws" / f"{policy}.json").read_text(encoding="utf-8"))
    assert read.keys() == {"Version", "Statement"}
    assert read["Version"] == "2012-10-17"
    return list(read["Statement"])


def test_both_clouds_have_the_same_roles_and_these_tests_know_them() -> None:
    assert {file.stem for file in (IAM / "aws").iterdir()} == AWS_ACTIONS.keys()
    assert {file.stem for file in (IAM / "gcp").iterdir()} == GCP_PERMISSIONS.keys() == AWS_ACTIONS.keys()


@pytest.mark.parametrize("policy", AWS_ACTIONS)
def test_a_policy_of_aws_has_these_actions_on_named_resources(policy: str) -> None:
    assert {action for statement in statements(policy) for action in statement["Action"]} == AWS_ACTIONS[policy]
    for statement in statements(policy):
        assert statement.keys() - {"Condition"} == {"Sid", "Effect", "Action", "Resource"}
        assert str(statement["Effect"]) == "Allow"
        assert not any("*" in action for action in statement["Action"])
        # Calls that describe are not about one resource: AWS takes nothing but the wildcard.
        assert ("*" in statement["Resource"]) == (statement["Sid"] == "DescribeCallsHaveNoResource")


def test_the_head_touches_only_machines_of_its_cluster() -> None:
    condition = {"StringEquals": {f"aws:ResourceTag/{TAG_RAY_CLUSTER_NAME}": "vlm3"}}
    for statement in statements("start-workers"):
        if "ec2:TerminateInstances" in statement["Action"]:
            assert statement["Condition"] == condition
    assert sum("ec2:TerminateInstances" in each["Action"] for each in statements("start-workers")) == 1


@pytest.mark.parametrize("role", GCP_PERMISSIONS)
def test_a_role_of_gcp_has_these_permissions(role: str) -> None:
    read = YAML(typ="safe").load((IAM / "gcp" / f"{role}.yaml").read_text(encoding="utf-8"))
    assert read.keys() == {"title", "description", "stage", "includedPermissions"}
    assert set(read["includedPermissions"]) == GCP_PERMISSIONS[role]
    assert len(read["includedPermissions"]) == len(GCP_PERMISSIONS[role])
