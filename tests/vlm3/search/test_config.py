"""What a user may write in a search file."""

from pathlib import Path

import pytest

from vlm3.config import load_yaml
from vlm3.errors import ConfigError
from vlm3.search.config import SearchConfig

RECIPES = Path(__file__).resolve().parents[3] / "jobs" / "recipes"


@pytest.mark.parametrize("path", sorted(RECIPES.glob("search_*.yaml")), ids=lambda path: path.name)
def test_shipped_searches_are_valid_and_name_a_shipped_recipe(path: Path):
    config = SearchConfig.parse(load_yaml(path), str(path))
    assert (RECIPES / config.recipe).is_file()
    assert set(config.sources) <= set(load_yaml(RECIPES / config.recipe)["sources"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"trails": 3}, "did you mean 'trials'"),
        ({"trials": 0}, "trials: .*greater than or equal to 1"),
        ({"floor": 0.5}, "floor: .*less than 0.5"),
        ({"mode": "best"}, "mode: .*'max' or 'min'"),
        ({"trials": "8"}, "trials: .*valid integer, found '8'"),
    ],
)
def test_wrong_keys_and_values_are_explained(data: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        SearchConfig.parse(data, "search.yaml")
