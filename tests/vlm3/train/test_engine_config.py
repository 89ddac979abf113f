from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vlm3.config import flatten
from vlm3.errors import ConfigError
from vlm3.train.engine_config import EngineConfig, nest
from vlm3.train.optimizer import OptimizerConfig


def test_the_json_follows_from_the_fields() -> None:
    config = EngineConfig(zero_stage=3, offload="cpu", precision="bf16", micro_batch=4)
    built = config.deepspeed_json(0.02, trained_parameters=1000)
    assert built["zero_optimization"]["stage"] == 3
    assert built["zero_optimization"]["offload_optimizer"] == {"device": "cpu"}
    assert built["zero_optimization"]["reduce_bucket_size"] == 1000
    assert built["bf16"] == {"enabled": True}
    assert built["gradient_clipping"] == 0.02
    assert (built["train_micro_batch_size_per_gpu"], built["gradient_accumulation_steps"]) == (4, 1)


@pytest.mark.parametrize(
    "overrides",
    [
        {"zero_optimization": {"reduce_bucket_size": 7, "offload_optimizer": {"pin_memory": True}}},
        {"zero_optimization.reduce_bucket_size": 7, "zero_optimization.offload_optimizer.pin_memory": True},
    ],
)
def test_overrides_replace_defaults_and_stay_beside_own_fields(overrides: dict[str, Any]) -> None:
    config = EngineConfig(zero_stage=2, offload="cpu", overrides=overrides)
    zero = config.deepspeed_json(1.0, 1000)["zero_optimization"]
    assert zero["reduce_bucket_size"] == 7
    assert zero["allgather_bucket_size"] == 1000
    assert zero["offload_optimizer"] == {"device": "cpu", "pin_memory": True}


@pytest.mark.parametrize(
    ("overrides", "key", "field"),
    [
        ({"zero_optimization": {"stage": 1}}, "zero_optimization.stage", "engine.zero_stage"),
        ({"zero_optimization": 3}, "zero_optimization", "engine.zero_stage"),
        ({"bf16": {"enabled": True}}, "bf16.enabled", "engine.precision"),
        ({"gradient_clipping": 1.0}, "gradient_clipping", "optimizer.gradient_clip"),
        ({"train_batch_size": 8}, "train_batch_size", "train.global_batch"),
        ({"optimizer": {"params": {"lr": 1.0}}}, "optimizer.params.lr", "optimizer"),
    ],
)
def test_a_key_set_twice_is_named_with_the_field_that_sets_it(overrides: dict[str, Any], key: str, field: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' is set twice: {field}"):
        EngineConfig.parse({"overrides": overrides}, "recipe")


def test_a_key_written_nested_and_dotted_is_set_twice() -> None:
    with pytest.raises(ConfigError, match=r"'a\.b' is set twice"):
        EngineConfig(overrides={"a": {"b": 1}, "a.b": 2})


def test_offloading_without_sharding_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs zero_stage 1, 2 or 3"):
        EngineConfig.parse({"zero_stage": 0, "offload": "cpu"}, "recipe")


leaves = st.one_of(st.integers(), st.booleans(), st.text(max_size=3))
trees = st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3))


@given(st.dictionaries(st.sampled_from("abc"), trees, max_size=3))
def test_flattening_and_nesting_undo_each_other(tree: dict[str, Any]) -> None:
    assert nest(dict(flatten(tree))) == tree


def test_adamw_trains_only_what_is_not_frozen() -> None:
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    trained = torch.nn.Parameter(torch.ones(2))
    optimizer = OptimizerConfig(learning_rate=0.5, weight_decay=0.1).build([frozen, trained])
    (group,) = optimizer.param_groups
    assert group["params"] == [trained]
    assert (group["lr"], group["weight_decay"], group["betas"]) == (0.5, 0.1, (0.9, 0.999))
    with pytest.raises(ConfigError, match="freezes every parameter"):
        OptimizerConfig().build([frozen])


def test_published_optimizer_settings_are_the_default() -> None:
    config = OptimizerConfig()
    assert (config.learning_rate, config.betas, config.weight_decay) == (5.5e-5, (0.9, 0.999), 0.0)
    assert (config.gradient_clip, config.warmup_share) == (0.02, 0.1)
    assert config.learning_rate_at(9, 100) == 5.5e-5
