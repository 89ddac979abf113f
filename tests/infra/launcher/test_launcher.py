"""The files for `ray up`: Ray accepts them, nothing is open to the world, and the recipes fit."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from vlm3.train.recipe import load_recipe

REPOSITORY = Path(__file__).resolve().parents[3]
LAUNCHER = REPOSITORY / "infra" / "launcher"
CLOUDS = ["aws", "gcp"]
READER_AND_DECODER_CPUS = 0.9


def load(cloud: str) -> dict[str, Any]:
    """The file as Ray reads it."""
    with (LAUNCHER / f"{cloud}.yaml").open(encoding="utf-8") as file:
        return dict(yaml.safe_load(file))


def checked(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` checks before it asks the cloud for anything."""
    prepared = prepare_config(config)
    validate_config(prepared)
    return dict(prepared)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_ray_accepts_the_file(cloud: str) -> None:
    node_types = checked(load(cloud))["available_node_types"]
    assert {name: (each["min_workers"], each["max_workers"]) for name, each in node_types.items()} == {
        "head": (0, 0),
        "cpu": (0, 8),
        "gpu": (0, 2),
    }


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("place", ["top", "docker", "node type"])
def test_a_planted_typo_is_caught(cloud: str, place: str) -> None:
    config = load(cloud)
    where = {"top": config, "docker": config["docker"], "node type": config["available_node_types"]["gpu"]}[place]
    where["max_wokers"] = 3
    with pytest.raises(ValidationError, match="max_wokers"):
        checked(config)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_all_nodes_have_the_images_of_this_version(cloud: str) -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    images = re.findall(r"image: (\S+?)[ }\n]", (LAUNCHER / f"{cloud}.yaml").read_text(encoding="utf-8"))
    assert set(images) == {f"registry.example.com/vlm3:{version}-{kind}" for kind in ("cpu", "cuda")}
    config = load(cloud)
    # One version of Ray everywhere: nothing is installed beside the images but Google's client.
    installs = [command for key in config if key.endswith("setup_commands") for command in config[key]]
    assert all("--require-hashes" in command and "gcp.lock" in command for command in installs)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_nothing_is_open_to_the_world_and_ray_wants_a_token(cloud: str) -> None:
    config = load(cloud)
    assert config["provider"]["use_internal_ips"] is True
    assert config["auth"]["ssh_proxy_use_node_id"] is True
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    folder = next(iter(config["file_mounts"]))
    assert f"--env RAY_AUTH_TOKEN_PATH={folder}/auth_token" in config["docker"]["run_options"]
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][1]
    assert not re.search(r"0\.0\.0\.0|accessConfigs", (LAUNCHER / f"{cloud}.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("cloud", CLOUDS)
def test_workers_are_spot_where_they_cost_most_and_every_node_names_its_role(cloud: str) -> None:
    nodes = {name: each["node_config"] for name, each in load(cloud)["available_node_types"].items()}
    spot = {
        "aws": nodes["gpu"].get("InstanceMarketOptions", {}).get("MarketType"),
        "gcp": nodes["gpu"].get("scheduling", {}).get("provisioningModel", "").lower(),
    }
    assert spot[cloud] == "spot"
    for name, node in nodes.items():
        role = "vlm3-head" if name == "head" else "vlm3-worker"
        # Without these, Ray makes a role of its own that may do everything with machines and objects.
        if cloud == "aws":
            assert node["IamInstanceProfile"] == {"Name": role}
            assert node["SecurityGroupIds"]
        else:
            assert [account["email"].split("@")[0] for account in node["serviceAccounts"]] == [role]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_commands_are_whole_in_a_shell(cloud: str) -> None:
    """Ray puts each into parentheses: a comment in it would swallow what follows."""
    config = load(cloud)
    commands = [command for key in config if key.endswith("_commands") for command in config[key]]
    assert len(commands) >= 6
    for command in commands:
        assert "#" not in command
        assert subprocess.run(["bash", "-n", "-c", f"({command})"], check=False).returncode == 0, command


def started_ray(command: str, folder: Path) -> tuple[str, str] | None:
    """Arguments and environment of Ray after a command on a node whose home is in `folder`; None: no Ray started."""
    program = folder / "ray"
    program.write_text(f'#!/bin/sh\necho "$@" >{folder}/arguments\nenv >{folder}/environment\n', encoding="utf-8")
    program.chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", f"({command.replace('/home/vlm3', str(folder / 'home'))})"],
        env={"PATH": f"{folder}:/usr/bin:/bin", "HOME": str(folder / "home"), "RAY_HEAD_IP": "10.0.0.1"},
        capture_output=True,
        check=False,
    )
    seen = folder / "arguments", folder / "environment"
    assert (done.returncode == 0) == all(file.exists() for file in seen)
    return (seen[0].read_text(), seen[1].read_text()) if done.returncode == 0 else None


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("node", ["head", "worker"])
def test_ray_gets_its_secrets_by_environment_from_a_file_and_does_not_start_without_it(
    cloud: str, node: str, tmp_path: Path
) -> None:
    config = load(cloud)
    command = config[f"{node}_start_ray_commands"][-1]
    assert started_ray(command, tmp_path) is None
    (target,) = config["file_mounts"]
    file = Path(target.replace("/home/vlm3", str(tmp_path / "home"))) / "cluster.env"
    file.parent.mkdir(parents=True)
    example = (LAUNCHER / "cluster.env.example").read_text(encoding="utf-8")
    filled = example.replace("PASSWORD=''", "PASSWORD='pa$$ #1'").replace(
        "# AWS_ACCESS_KEY_ID=''", "AWS_ACCESS_KEY_ID='key'"
    )
    file.write_text(filled, encoding="utf-8")
    started = started_ray(command, tmp_path)
    assert started is not None
    arguments, environment = started
    assert arguments.startswith("start ") and "pa$$" not in arguments
    lines = environment.splitlines()
    for line in (
        "MLFLOW_TRACKING_URI=http://mlflow.internal:5000",
        "MLFLOW_TRACKING_PASSWORD=pa$$ #1",
        "AWS_ACCESS_KEY_ID=key",
    ):
        assert line in lines


def test_no_secret_is_in_the_files() -> None:
    for file in LAUNCHER.glob("*.yaml"):
        assert not re.search(r"PASSWORD|ACCESS_KEY|AUTH_TOKEN=", file.read_text(encoding="utf-8"))
    example = (LAUNCHER / "cluster.env.example").read_text(encoding="utf-8")
    secret = re.findall(r"^[# ]*(\w+(?:USERNAME|PASSWORD|KEY|KEY_ID))=(.*)$", example, re.MULTILINE)
    assert len(secret) == 4 and {value for _, value in secret} == {"''"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_flags_of_ray_start_are_those_of_the_installed_ray(cloud: str) -> None:
    from ray.scripts.scripts import start

    known = {flag for option in start.params for flag in option.opts}
    config = load(cloud)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        flags = re.findall(r" (--[a-z-]+)", config[key][1])
        assert len(flags) >= 4
        assert set(flags) <= known


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("name", ["rooms.yaml", "four_tasks.yaml"])
def test_the_recipes_fit(cloud: str, name: str) -> None:
    recipe = load_recipe(REPOSITORY / "jobs" / "recipes" / name, ["stream.decode.node_labels.pool=cpu"])
    types = load(cloud)["available_node_types"]
    decoding = [each for each in types.values() if each["labels"].items() >= recipe.stream.decode.node_labels.items()]
    assert sum(each["resources"]["CPU"] * each["max_workers"] for each in decoding) >= READER_AND_DECODER_CPUS
    cpus = sum(each["resources"]["CPU"] * each.get("max_workers", 0) for each in types.values())
    assert cpus >= recipe.train.workers * recipe.train.cpus_per_worker + READER_AND_DECODER_CPUS
    assert types["gpu"]["resources"]["GPU"] * types["gpu"]["max_workers"] >= recipe.train.workers


@pytest.mark.parametrize("node", ["head", "cpu", "gpu"])
def test_aws_knows_every_field_of_a_node(node: str) -> None:
    config = dict(load("aws")["available_node_types"][node]["node_config"])
    config["SubnetId"] = config.pop("SubnetIds")[0]  # Ray's own name: it tries one after the other
    shape = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    assert shape is not None

    def report(parameters: dict[str, Any]) -> str:
        return str(ParamValidator().validate({"MinCount": 1, "MaxCount": 1, **parameters}, shape).generate_report())

    assert report(config) == ""
    assert "InstanceTyp" in report({**config, "InstanceTyp": "m7i.large"})
