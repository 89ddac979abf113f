"""Every alert fires when it should, and only then: promtool plays series to it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.infra.monitoring.expressions import MONITORING, rules
from tests.left_out import need_command


@dataclass(frozen=True)
class Case:
    """Series, one value a minute: with `bad` the alert fires at the end, with `good` it never does."""

    alert: str
    bad: dict[str, str]
    good: dict[str, str]
    labels: str = ""
    """Those that the alert has, besides its name, state and severity."""
    minutes: int = 40
    quiet_from: int = 0
    """The minute from which on it is quiet with `good`."""


def answers(ok: str, unreadable: str) -> dict[str, str]:
    name = 'ray_vlm3_endpoint_answers_total{SessionName="s",application="a",status='
    return {f'{name}"ok"}}': ok, f'{name}"unreadable"}}': unreadable, f'{name}"outside"}}': "0+600x60"}


def requests(ok: str, status: str, others: str) -> dict[str, str]:
    name = 'ray_serve_num_http_requests_total{SessionName="s",application="a",method="POST",status_code='
    return {f'{name}"200"}}': ok, f'{name}"{status}"}}': others}


def latencies(quick: str, slow: str) -> dict[str, str]:
    name = 'ray_serve_http_request_latency_ms_bucket{SessionName="s",application="a",method="POST",le='
    return {f'{name}"1000"}}': quick, f'{name}"20000"}}': slow, f'{name}"+Inf"}}': slow}


SERVED = 'SessionName="s",application="a"'
HEALTHY = f'ray_serve_deployment_replica_healthy{{{SERVED},deployment="DepthService",replica="r"}}'
MODEL = f'ray_vlm3_endpoint_model{{{SERVED},model="vlm3-depth",replica='
STARTED = 'ray_train_worker_group_start_total_time_s{SessionName="s",ray_train_run_name="indoor",ray_train_run_id='
COMPONENT = '{component="rooms/depth",run="indoor"}'
CASES = [
    Case("RayNotFound", bad={}, good={'up{job="ray",instance="n:1"}': "1x60"}, labels='job="ray"'),
    Case(
        "RayNodeNotScraped",
        bad={'up{job="ray",instance="n:1"}': "1x20 0x40"},
        good={'up{job="ray",instance="n:1"}': "1x60", 'up{job="prometheus",instance="p:1"}': "0x60"},
        labels='instance="n:1",job="ray"',
    ),
    Case(
        "NodeMemoryNearlyFull",
        bad={'ray_node_mem_used{ip="n"}': "95x60", 'ray_node_mem_total{ip="n"}': "100x60"},
        good={'ray_node_mem_used{ip="n"}': "80x60", 'ray_node_mem_total{ip="n"}': "100x60"},
        labels='ip="n"',
    ),
    Case(
        # The counter appears with the first event.
        "WorkersKilledForMemory",
        bad={'ray_memory_manager_worker_eviction_total{Name="train"}': "_x34 1x25"},
        good={'ray_memory_manager_worker_eviction_total{Name="train"}': "_x4 1x55"},
        labels='Name="train"',
        quiet_from=22,
    ),
    Case(
        "WorkersKilledForMemory",
        bad={'ray_memory_manager_worker_eviction_total{Name="train"}': "3x30 5x30"},
        good={'ray_memory_manager_worker_eviction_total{Name="train"}': "3x60"},
        labels='Name="train"',
        quiet_from=18,
    ),
    Case(
        "ObjectStoreSpills",
        bad={'ray_object_store_memory{SessionName="s",NodeAddress="n",Location="SPILLED"}': "0x30 4096x30"},
        good={
            'ray_object_store_memory{SessionName="s",NodeAddress="n",Location="SPILLED"}': "0x60",
            'ray_object_store_memory{SessionName="s",NodeAddress="n",Location="MMAP_SHM"}': "4096x60",
        },
        labels='NodeAddress="n",SessionName="s"',
    ),
    Case(
        "NodeDiskNearlyFull",
        bad={'ray_node_disk_utilization_percentage{ip="n"}': "93x60"},
        good={'ray_node_disk_utilization_percentage{ip="n"}': "85x60"},
        labels='ip="n"',
    ),
    Case(
        "TrainingStandsStill",
        bad={'ray_vlm3_train_step{run="indoor"}': "0+30x5 150x60"},
        # A long evaluation, and then it goes on.
        good={'ray_vlm3_train_step{run="indoor"}': "0+30x10 300x15 330+30x30"},
        labels='run="indoor"',
    ),
    Case(
        "TrainingWaitsForData",
        # Every other step waits.
        bad={'ray_vlm3_data_wait_share{run="indoor"}': "0 0.4 " * 30},
        good={'ray_vlm3_data_wait_share{run="indoor"}': "0.01x10 0.9 0.01x50"},
        labels='run="indoor"',
    ),
    Case(
        "SamplesAreReplaced",
        bad={
            f"ray_vlm3_mixture_replaced_total{COMPONENT}": "0+60x60",
            f"ray_vlm3_mixture_samples_per_s{COMPONENT}": "40x60",
        },
        good={
            f"ray_vlm3_mixture_replaced_total{COMPONENT}": "0+6x60",
            f"ray_vlm3_mixture_samples_per_s{COMPONENT}": "40x60",
        },
        labels='component="rooms/depth",run="indoor"',
    ),
    Case(
        "TrainingStartsAgain",
        bad={f'{STARTED}"1"}}': "9x20", f'{STARTED}"2"}}': "_x24 8x60"},
        good={f'{STARTED}"1"}}': "9x60"},
        labels='SessionName="s",ray_train_run_name="indoor"',
    ),
    Case(
        "EndpointHasNoModel", bad={HEALTHY: "1x60"}, good={HEALTHY: "1x60", f'{MODEL}"r"}}': "_x5 1x60"}, labels=SERVED
    ),
    Case(
        "EndpointUnhealthy",
        bad={f'ray_serve_deployment_status{{{SERVED},deployment="DepthService"}}': "6x30 2x30"},
        good={f'ray_serve_deployment_status{{{SERVED},deployment="DepthService"}}': "3x10 6x50"},
        labels=f'{SERVED},deployment="DepthService"',
    ),
    Case(
        "EndpointFails",
        bad=requests("0+60x60", "500", "0+3x60"),
        good=requests("0+600x60", "500", "0+3x60"),
        labels=SERVED,
    ),
    Case(
        "EndpointFails",
        bad=requests("0x60", "502", "0+1x60"),
        good=requests("0+60x60", "503", "0+60x60"),
        labels=SERVED,
    ),
    Case(
        "EndpointRefuses",
        bad=requests("0+60x60", "503", "0+1x60"),
        good=requests("0+60x60", "422", "0+9x60"),
        labels=SERVED,
    ),
    Case("EndpointIsSlow", bad=latencies("0+8x60", "0+10x60"), good=latencies("0+98x60", "0+100x60"), labels=SERVED),
    Case("AnswersCannotBeRead", bad=answers("0+60x60", "0+9x60"), good=answers("0+60x60", "0+3x60"), labels=SERVED),
    Case(
        "ReplicasHaveDifferentModels",
        bad={f'{MODEL}"r",model_version="1"}}': "1x60", f'{MODEL}"t",model_version="2"}}': "1x60"},
        good={f'{MODEL}"r",model_version="2"}}': "1x60", f'{MODEL}"t",model_version="2"}}': "1x60"},
        labels=SERVED,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_an_alert_fires_when_it_should_and_only_then(case: Case, tmp_path: Path) -> None:
    (severity,) = {rule["labels"]["severity"] for rule in rules() if rule["alert"] == case.alert}
    labels = ",".join(filter(None, [case.labels, f'severity="{severity}"']))
    fired = f'ALERTS{{alertname="{case.alert}",alertstate="firing",{labels}}}'

    def played(series: dict[str, str], expected: dict[int, list[dict[str, object]]]) -> dict[str, object]:
        asked = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [
                {"expr": asked, "eval_time": f"{minute}m", "exp_samples": samples}
                for minute, samples in expected.items()
            ],
        }

    file = tmp_path / "case.json"  # which is YAML too
    tests = [
        played(case.bad, {0: [], case.minutes: [{"labels": fired, "value": 1}]}),
        played(case.good, {minute: [] for minute in range(case.quiet_from, case.minutes + 1, 2)}),
    ]
    rule_files = [str(file) for file in sorted(MONITORING.glob("rules/*.yml"))]
    file.write_text(json.dumps({"rule_files": rule_files, "evaluation_interval": "1m", "tests": tests}))
    done = promtool("test", "rules", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in rules()}


def test_an_alert_says_what_happens_what_to_do_and_how_urgent_it_is() -> None:
    for rule in rules():
        assert rule["for"] and rule["labels"]["severity"] in ("warning", "critical"), rule["alert"]
        summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
        assert summary and not summary.endswith("."), rule["alert"]
        assert len(description) > 60 and description.endswith("."), rule["alert"]


def test_prometheus_accepts_the_configuration_and_all_rules(tmp_path: Path) -> None:
    done = promtool("check", "config", str(MONITORING / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rule files found" in done.stdout
    (tmp_path / "rules").mkdir()
    for file in MONITORING.glob("rules/*.yml"):
        (tmp_path / "rules" / file.name).write_text(file.read_text().replace("expr: ", "exprs: ", 1))
    broken = tmp_path / "prometheus.yml"
    broken.write_text((MONITORING / "prometheus.yml").read_text())
    done = promtool("check", "config", str(broken))
    assert done.returncode != 0 and "field exprs not found" in done.stdout + done.stderr


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [need_command("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
