"""Ray's own code for AWS, against a server: it keeps to our roles and groups, and the policy of the head is enough."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from ray.autoscaler._private.aws import utils
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config

from tests.infra.iam.conftest import POLICIES, Become, client
from tests.storage_fixtures import S3Server

LAUNCHER = Path(__file__).resolve().parents[3] / "infra" / "launcher" / "aws.yaml"


@pytest.fixture
def cloud(moto_server: S3Server, become: Become, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Server]:
    """A cloud with a network, an image and the roles that README.md asks for; Ray's code finds it and no other."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server.endpoint)
    monkeypatch.setenv("HOME", str(tmp_path))
    iam = client("iam", moto_server)
    for role in ("vlm3-head", "vlm3-worker"):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument="{}")
        iam.create_instance_profile(InstanceProfileName=role)
        iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
    yield moto_server
    for remembered in (utils.resource_cache, utils.client_cache):
        remembered.cache_clear()


def cluster(server: S3Server) -> dict[str, Any]:
    """The file, with the network and image of this cloud in the places marked "yours"."""
    ec2 = client("ec2", server)
    network = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=network, CidrBlock="10.0.1.0/24", AvailabilityZone="us-west-2a")["Subnet"][
        "SubnetId"
    ]
    group = ec2.create_security_group(GroupName="vlm3", Description="inside only", VpcId=network)["GroupId"]
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    config = dict(yaml.safe_load(LAUNCHER.read_text(encoding="utf-8")))
    for each in config["available_node_types"].values():
        each["node_config"] |= {"SubnetIds": [subnet], "SecurityGroupIds": [group], "ImageId": image}
    return config


def without_what_the_server_ignores(policy: str) -> str:
    """This server checks actions; it knows neither the resources nor the conditions of machines."""
    read = json.loads((POLICIES / f"{policy}.json").read_text(encoding="utf-8"))
    actions = [action for statement in read["Statement"] for action in statement["Action"]]
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    return json.dumps({"Version": read["Version"], "Statement": [statement]})


def test_ray_makes_neither_roles_nor_open_groups(cloud: S3Server) -> None:
    config = cluster(cloud)
    ec2, iam = client("ec2", cloud), client("iam", cloud)

    def there() -> tuple[set[str], set[str], list[object]]:
        groups = ec2.describe_security_groups()["SecurityGroups"]
        return (
            {role["RoleName"] for role in iam.list_roles()["Roles"]},
            {group["GroupId"] for group in groups},
            [rule for group in groups if group["GroupName"] == "vlm3" for rule in group["IpPermissions"]],
        )

    before = there()
    bootstrap_aws(prepare_config(config))
    assert there() == before


def test_the_policy_of_the_head_is_enough_to_start_and_end_workers(cloud: S3Server, become: Become) -> None:
    config = prepare_config(cluster(cloud))
    become("start-workers", without_what_the_server_ignores("start-workers"))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name in ("cpu", "gpu"):
        provider.create_node(dict(config["available_node_types"][name]["node_config"]), {"ray-node-type": "worker"}, 1)
    workers = provider.non_terminated_nodes({})
    assert len(workers) == 2
    provider.set_node_tags(workers[0], {"ray-node-status": "up-to-date"})
    provider.terminate_nodes(workers)
    assert provider.non_terminated_nodes({}) == []
    with pytest.raises(ClientError, match="not authorized"):
        client("ec2", cloud).delete_security_group(GroupName="vlm3")
