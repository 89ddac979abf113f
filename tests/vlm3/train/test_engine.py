"""Two real processes train a stock Qwen3-VL under every ZeRO stage; the arithmetic must be that of one process."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm3.errors import UserError
from vlm3.models.segment_attention import NAME as SEGMENTS
from vlm3.train.engine import require_device

HELPER = Path(__file__).with_name("engine_ranks.py")
ROOT = Path(__file__).resolve().parents[3]
Seen = dict[str, Any]

SHARDINGS = ["fp32 0", "fp32 1", "fp32 2", "fp32 3", "untied 3", "offload 1", "offload 2", "offload 3"]
ALL = [*SHARDINGS, "bf16 0", "bf16 1", "bf16 2", "bf16 3"]
WEIGHTS_ATOL = 1e-6
"""Weights move by up to the learning rate, a thousandth, in each step; their rounding adds up to about 1e-8."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two ranks saw, and one, which also reads the checkpoints of two."""
    folder = tmp_path_factory.mktemp("engine")
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}",
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(HELPER), str(folder)]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as helper:
        try:
            _, said = helper.communicate()
        finally:
            # Its ranks too, where the tests are broken off.
            with suppress(ProcessLookupError):
                os.killpg(helper.pid, signal.SIGKILL)
    assert helper.returncode == 0, said[-5000:]
    return folder


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[Seen]:
    return [torch.load(folder / f"seen_2_{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone(folder: Path) -> Seen:
    seen: Seen = torch.load(folder / "seen_1_0.pt")
    return seen


@pytest.mark.floats
@pytest.mark.long
@pytest.mark.parametrize("case", SHARDINGS)
def test_two_ranks_of_two_micro_batches_train_like_one_big_batch(ranks: list[Seen], alone: Seen, case: str) -> None:
    expected = alone["plain untied" if case.startswith("untied") else "plain"]
    seen = ranks[0][case]
    for step, (found, wanted) in enumerate(zip(seen["stats"], expected["stats"], strict=True)):
        loss, norm, rate, tokens = found
        assert loss == pytest.approx(wanted[0], rel=1e-6), step
        # Where the gradient is clipped the weights hide a wrong scale of it; its norm does not.
        assert norm == pytest.approx(wanted[1], rel=1e-5), step
        assert (rate, tokens) == wanted[2:], step
    assert seen["weights"].keys() == expected["weights"].keys()
    for name, weight in expected["weights"].items():
        torch.testing.assert_close(seen["weights"][name], weight, rtol=0, atol=WEIGHTS_ATOL, msg=name)


@pytest.mark.floats
@pytest.mark.long
@pytest.mark.parametrize("stage", range(4))
def test_bf16_keeps_close_and_leaves_rotary_frequencies_in_fp32(ranks: list[Seen], alone: Seen, stage: int) -> None:
    seen = ranks[0][f"bf16 {stage}"]
    for found, wanted in zip(seen["stats"], alone["plain"]["stats"], strict=True):
        assert found[0] == pytest.approx(wanted[0], rel=1e-3)
        assert found[1] == pytest.approx(wanted[1], rel=1e-2)
    assert {weight.dtype for weight in seen["weights"].values()} == {torch.bfloat16}
    assert seen["buffers"] == {"torch.float32"}


@pytest.mark.floats
@pytest.mark.long
@pytest.mark.parametrize("case", ALL)
def test_a_resumed_run_repeats_the_uninterrupted_one_exactly(ranks: list[Seen], case: str) -> None:
    for seen in (rank[case] for rank in ranks):
        assert len(seen["resumed"]) == 2
        assert seen["resumed"] == seen["rest"]
    end, resumed = ranks[0][case]["end"], ranks[0][case]["resumed_end"]
    assert all(torch.equal(end[name], resumed[name]) for name in end)
    assert any(not torch.equal(end[name], ranks[0][case]["weights"][name]) for name in end)


@pytest.mark.long
@pytest.mark.parametrize("case", ALL)
def test_the_state_dict_is_on_rank_0_with_ties_kept(ranks: list[Seen], case: str) -> None:
    assert ranks[1][case]["weights"] is None
    weights = ranks[0][case]["weights"]
    head, embedding = weights["lm_head.weight"], weights["model.language_model.embed_tokens.weight"]
    assert (head.data_ptr() == embedding.data_ptr()) == (case != "untied 3")


@pytest.mark.floats
@pytest.mark.long
def test_unsharded_checkpoints_of_two_ranks_continue_on_one(ranks: list[Seen], alone: Seen) -> None:
    for found, wanted in zip(alone["other size"]["rest"], ranks[0]["fp32 0"]["rest"], strict=True):
        assert found == pytest.approx(wanted, rel=1e-5)
    for name, weight in ranks[0]["fp32 0"]["end"].items():
        torch.testing.assert_close(alone["other size"]["end"][name], weight, rtol=0, atol=WEIGHTS_ATOL, msg=name)


@pytest.mark.long
def test_sharded_checkpoints_of_two_ranks_are_refused_on_one(alone: Seen) -> None:
    assert "sharded over 2 workers, this run has 1" in alone["other size"]["sharded"]
    assert "--set train.workers=2" in alone["other size"]["sharded"]


@pytest.mark.floats
@pytest.mark.long
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_ranks_may_ask_differently_often_while_evaluating(ranks: list[Seen], stage: int) -> None:
    first, second = (rank[f"evaluation {stage}"] for rank in ranks)
    assert first["flags"] == (False, True)
    assert [len(first["logits"]), len(second["logits"])] == [2, 4]
    for logits in (*first["logits"], *second["logits"]):
        assert torch.equal(logits, first["logits"][0])
    # Padded rows, with their mask: what segments would take for one row.
    assert torch.equal(first["logits"][0], first["stock"])
    assert first["attention"] == ({SEGMENTS}, {"sdpa"}, {SEGMENTS})
    uninterrupted = ranks[0][f"fp32 {stage}"]
    assert first["rest"] == [uninterrupted["stats"][1], uninterrupted["rest"][0]]


@pytest.mark.floats
@pytest.mark.long
def test_gradient_checkpointing_repeats_the_forward_with_the_same_attention(alone: Seen) -> None:
    seen = alone["checkpointing"]
    # Four micro-batches, each of which goes through the layer once and is repeated once.
    assert seen["attention"] == [SEGMENTS] * 8
    (found,), wanted = seen["stats"], alone["plain"]["stats"][0]
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    assert found[1] == pytest.approx(wanted[1], rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize(
    ("case", "error", "parts"),
    [
        ("uneven", "UserError", ["same number of micro-batches", "[1, 2]"]),
        ("none", "UserError", ["at least one", "[0, 0]"]),
        ("unanswered", "UserError", ["no sample of the step has an answer token"]),
        ("stage", "CheckpointError", ["zero_stage 1, this run has 2", "--set engine.zero_stage=1"]),
        ("nan", "UserError", ["loss nan", "last checkpoint", "learning_rate"]),
        ("override", "ConfigError", ["engine.overrides", "reduce_bucket_size"]),
    ],
)
def test_every_rank_refuses_with_one_clear_message(ranks: list[Seen], case: str, error: str, parts: list[str]) -> None:
    for rank in ranks:
        message = rank["refusals"][case]
        assert message.startswith(f"{error}: ")
        for part in parts:
            assert part in message


def test_asking_for_a_gpu_where_there_is_none_says_what_to_do() -> None:
    assert require_device("cpu") == torch.device("cpu")
    if torch.cuda.is_available():
        assert require_device("cuda").type == "cuda"
    else:
        with pytest.raises(UserError, match=r"finds no GPU.*--set train.device=cpu"):
            require_device("cuda")


def test_importing_the_engine_does_not_import_deepspeed() -> None:
    code = "import sys, vlm3.train.engine; sys.exit('deepspeed' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "platform")}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def test_an_engine_is_built_without_torchs_compiler(tmp_path: Path) -> None:
    code = f"""
import sys, torch, torch.distributed as dist
from vlm3.train.engine import Engine, EngineConfig
from vlm3.train.optimizer import OptimizerConfig
dist.init_process_group("gloo", init_method="file://{tmp_path}/meet", rank=0, world_size=1)
Engine(torch.nn.Linear(2, 2), EngineConfig(zero_stage=2, micro_batch=1), OptimizerConfig(), 1, torch.device("cpu"))
from deepspeed.runtime.zero.muon.muon_optimizer import MuonWithAuxAdam
from deepspeed.runtime.compiler import compile
assert compile() is torch.compile and "torch._inductor.compile_fx" not in sys.modules
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "platform"), "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
