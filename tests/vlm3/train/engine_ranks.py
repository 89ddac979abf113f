"""The ranks of test_engine.py: `python engine_ranks.py FOLDER` trains on two, then on one, and writes what each saw.

The ranks are forked from one process that has imported everything: that takes longer than their training.
"""

import gc
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import connection, get_context
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from vlm3.errors import UserError
from vlm3.mixture.ledger import Ledger
from vlm3.seeds import generator
from vlm3.tokens.batch import IGNORED_LABEL, ModelBatch, collate
from vlm3.tokens.step_row import StepRow
from vlm3.tokens.vision import VisionSpec
from vlm3.train.checkpoint import TrainState, commit
from vlm3.train.engine import Engine, EngineConfig, _import_deepspeed
from vlm3.train.loss import answer_loss, count_answer_tokens
from vlm3.train.optimizer import OptimizerConfig

IMAGE, VOCABULARY, TOTAL_STEPS, SAVED_AFTER = 90, 100, 4, 2
PATIENCE_S = 400
"""In which the ranks of one size must end: they may wait for each other for ever."""
CPU = torch.device("cpu")
VISION = VisionSpec(
    patch_px=8,
    merge=2,
    temporal_patch=2,
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    min_pixels=256,
    max_pixels=1024,
    image_token_id=IMAGE,
)
# Where a gradient is zero but for rounding, an epsilon below the rounding makes it a step of a whole learning rate,
# in a direction that depends on the processor. This one is far above it, so weights move as their gradients say.
OPTIMIZER = OptimizerConfig(learning_rate=1e-3, epsilon=1e-3, gradient_clip=1.0, weight_decay=0.01)


def tiny_model(tied: bool = True) -> torch.nn.Module:
    """A stock Qwen3-VL of one layer, the same in every process."""
    torch.manual_seed(0)
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 16,
            "rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4},
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "patch_size": 8,
            "out_hidden_size": 32,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=IMAGE,
        vision_start_token_id=91,
        vision_end_token_id=92,
        tie_word_embeddings=tied,
    )
    return Qwen3VLForConditionalGeneration._from_config(config, attn_implementation="sdpa")


def samples(step: int, chosen: slice = slice(0, 8)) -> ModelBatch:
    """Some of the eight samples of a step: each a little longer than the one before, with one answer token more."""
    rows = []
    for number in range(8):
        rng = generator(step, number)
        ids = rng.integers(0, 89, 15 + number)
        # Images of one and of two visual tokens.
        ids[1 : 2 + number % 2] = IMAGE
        mask = np.arange(len(ids)) >= len(ids) - 1 - number
        image = rng.integers(0, 256, (16, 16 * (1 + number % 2), 3))
        rows.append(StepRow(number, 0, 0, ids.astype(np.int32), mask, (image.astype(np.uint8),)))
    return collate(rows[chosen], VISION)


def micro_batches(step: int, per_micro_batch: int = 2) -> list[ModelBatch]:
    """This rank's contiguous share of a step's samples."""
    share = 8 // dist.get_world_size()
    first = dist.get_rank() * share
    return [
        samples(step, slice(start, start + per_micro_batch)) for start in range(first, first + share, per_micro_batch)
    ]


def engine(stage: int, precision: str = "fp32", tied: bool = True, **more: object) -> Engine:
    # Otherwise the weights of so small a model are never sharded, or never let go again.
    eager = {"stage3_param_persistence_threshold": 0, "stage3_max_live_parameters": 0, "stage3_max_reuse_distance": 0}
    overrides = {"zero_optimization": eager} if stage == 3 else {}
    data = {"zero_stage": stage, "precision": precision, "micro_batch": 2, "overrides": overrides, **more}
    return Engine(tiny_model(tied), EngineConfig.parse(data, "test"), OPTIMIZER, TOTAL_STEPS, CPU)


def attentions(trained: Engine) -> list[str]:
    """Names of the text model's attention, one for each forward from now on."""
    seen: list[str] = []

    def note(layer: torch.nn.Module, *_: object) -> None:
        seen.append(layer.config._attn_implementation)

    # Of the layer, whose forward is what gradient checkpointing repeats.
    trained.module.get_submodule("model.language_model.layers.0.self_attn").register_forward_pre_hook(note)
    return seen


def padded(batch: ModelBatch) -> dict[str, torch.Tensor]:
    """The rows of a micro-batch beside each other, as questions are asked together."""
    inputs = batch.to_model_inputs(CPU)
    lengths = batch.borders.diff().tolist()
    ids, mask = (
        torch.nn.utils.rnn.pad_sequence(torch.split(values, lengths), batch_first=True)
        for values in (inputs["input_ids"][0], torch.ones_like(inputs["input_ids"][0]))
    )
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "mm_token_type_ids": (ids == IMAGE).int(),
        "pixel_values": inputs["pixel_values"],
        "image_grid_thw": inputs["image_grid_thw"],
    }


def train(trained: Engine, until: int) -> list[tuple[float, float, float, int]]:
    seen = []
    while trained.step < until:
        stats = trained.train_step(micro_batches(trained.step), 1)
        seen.append((stats.loss, stats.grad_norm, stats.learning_rate, stats.answer_tokens))
    return seen


def save(trained: Engine, folder: Path, stage: int) -> None:
    """Save as workers without a shared disk do: each rank into its own folder, merged afterwards."""
    own = folder.with_name(f"{folder.name}.rank{dist.get_rank()}")
    files = trained.save(own)
    for path in own.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(own)
            target.parent.mkdir(parents=True, exist_ok=True)
            assert not target.exists(), f"two ranks wrote {target}"
            path.rename(target)
    dist.barrier()
    if dist.get_rank() == 0:
        commit(folder, TrainState(trained.step, Ledger.empty(), "{}", "f", dist.get_world_size(), stage, (), ()), files)
    dist.barrier()


def plain_training(tied: bool) -> dict[str, object]:
    """The same first steps in plain PyTorch, all samples in one batch."""
    model = tiny_model(tied)
    optimizer = OPTIMIZER.build(model.parameters())
    stats = []
    for step in range(SAVED_AFTER):
        batch = samples(step)
        tokens = count_answer_tokens(batch.labels)
        loss = answer_loss(model, batch.to_model_inputs(CPU)).total / tokens
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.gradient_clip)
        rate = OPTIMIZER.learning_rate_at(step, TOTAL_STEPS)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad()
        stats.append((loss.item(), norm.item(), rate, tokens))
    return {"stats": stats, "weights": dict(model.state_dict())}


def check_step(folder: Path, stage: int, precision: str, tied: bool = True, **more: object) -> dict[str, object]:
    """Some steps and the weights; then saved, continued to the end, and continued by a second engine."""
    first = engine(stage, precision, tied, **more)
    stats = train(first, SAVED_AFTER)
    saved = first.full_state_dict()
    checkpoint = folder / f"checkpoint_{stage}_{precision}_{tied}_{'-'.join(more)}"
    save(first, checkpoint, stage)
    rest = train(first, TOTAL_STEPS)
    second = engine(stage, precision, tied, **more)
    second.load(checkpoint)
    resumed = train(second, TOTAL_STEPS)
    return {
        "stats": stats,
        "weights": saved,
        "buffers": {str(buffer.dtype) for buffer in first.module.buffers() if buffer.is_floating_point()},
        "rest": rest,
        "resumed": resumed,
        "end": first.full_state_dict(),
        "resumed_end": second.full_state_dict(),
    }


def check_evaluation(stage: int) -> dict[str, object]:
    """Ranks ask differently often; then training goes on."""
    trained = engine(stage)
    seen = attentions(trained)
    train(trained, 1)
    in_training = set(seen)
    seen.clear()
    inputs = padded(samples(50, slice(0, 2)))
    logits = []
    for _ in range(2):
        with trained.evaluation() as model, torch.no_grad():
            training_flag = model.training
            logits += [model(**inputs).logits for _ in range(1 + dist.get_rank())]
            stock = tiny_model().eval()
            stock.load_state_dict(model.state_dict())
            expected = stock(**inputs).logits
    after = trained.module.training
    attention = (in_training, set(seen))
    seen.clear()
    rest = train(trained, 3)
    return {
        "flags": (training_flag, after),
        "logits": logits,
        "stock": expected,
        "attention": (*attention, set(seen)),
        "rest": rest,
    }


def check_checkpointing() -> dict[str, object]:
    """One step with gradient checkpointing."""
    trained = engine(2)
    trained.module.gradient_checkpointing_enable({"use_reentrant": False})
    seen = attentions(trained)
    return {"stats": train(trained, 1), "attention": seen}


def check_refusals(folder: Path) -> dict[str, str]:
    """Messages of what must be refused on every rank alike, and not hang."""
    messages = {}

    def refused(name: str, act: Callable[[], object]) -> None:
        try:
            act()
        except UserError as error:
            messages[name] = f"{type(error).__name__}: {error}"

    trained = engine(2)
    share = micro_batches(0)
    refused("uneven", lambda: trained.train_step(share[: 1 + dist.get_rank()], 1))
    refused("none", lambda: trained.train_step([], 1))
    unanswered = [replace(batch, labels=torch.full_like(batch.labels, IGNORED_LABEL)) for batch in share]
    refused("unanswered", lambda: trained.train_step(unanswered, 1))
    refused("stage", lambda: trained.load(folder / "checkpoint_1_fp32_True_"))
    if dist.get_rank() == 0:
        trained.module.get_parameter("model.language_model.norm.weight").data[0] = torch.nan
    refused("nan", lambda: trained.train_step(share, 1))
    bad = {"zero_optimization.reduce_bucket_size": "big"}
    refused("override", lambda: engine(2, overrides=bad))
    return messages


def check_other_size(folder: Path) -> dict[str, object]:
    """Checkpoints of two ranks on one."""
    alone = engine(0)
    alone.load(folder / "checkpoint_0_fp32_True_")
    rest = train(alone, TOTAL_STEPS)
    message = ""
    try:
        engine(2).load(folder / "checkpoint_2_fp32_True_")
    except UserError as error:
        message = str(error)
    return {"rest": rest, "end": alone.full_state_dict(), "sharded": message}


def see(rank: int, world: int, folder: Path) -> None:
    """What one rank does, in a process of its own; it prints into its own file."""
    with (folder / f"log_{world}_{rank}").open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store{world}", rank=rank, world_size=world)
    seen: dict[str, object] = {}
    if world == 1:
        seen["plain"] = plain_training(tied=True)
        seen["plain untied"] = plain_training(tied=False)
        seen["other size"] = check_other_size(folder)
        seen["checkpointing"] = check_checkpointing()
    else:
        for stage in range(4):
            for precision in ("fp32", "bf16"):
                seen[f"{precision} {stage}"] = check_step(folder, stage, precision)
        seen["untied 3"] = check_step(folder, 3, "fp32", tied=False)
        for stage in (1, 2, 3):
            seen[f"offload {stage}"] = check_step(folder, stage, "fp32", offload="cpu")
        for stage in (0, 2, 3):
            seen[f"evaluation {stage}"] = check_evaluation(stage)
        seen["refusals"] = check_refusals(folder)
    torch.save(seen, folder / f"seen_{world}_{rank}.pt")
    dist.destroy_process_group()


def run_ranks(world: int, folder: Path) -> None:
    """Fork the ranks of one size and wait for them; one that fails ends the others, and this process with its log."""
    ranks = [get_context("fork").Process(target=see, args=(rank, world, folder)) for rank in range(world)]
    for process in ranks:
        process.start()
    deadline_s = time.monotonic() + PATIENCE_S
    waiting = list(ranks)
    while waiting and not any(process.exitcode for process in ranks) and time.monotonic() < deadline_s:
        connection.wait([process.sentinel for process in waiting], timeout=deadline_s - time.monotonic())
        waiting = [process for process in waiting if process.exitcode is None]
    for process in waiting:
        process.kill()
        process.join()
    for rank, process in enumerate(ranks):
        if process.exitcode != 0:
            log = (folder / f"log_{world}_{rank}").read_text()[-4000:]
            sys.exit(f"rank {rank} of {world} ended with {process.exitcode}: {log}")


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    _import_deepspeed(CPU)
    # DeepSpeed collects garbage with every engine; what was imported need not be looked through each time.
    gc.freeze()
    for world in (2, 1):
        run_ranks(world, folder)


if __name__ == "__main__":
    main()
