"""The dashboards in the repository are those that the code makes, and can be read without asking around."""

import re
from pathlib import Path

import pytest

from infra.monitoring.generate import dashboards as made_dashboards
from tests.infra.monitoring.expressions import (
    MONITORING,
    dashboards,
    filled_in,
    of_alerts,
    of_panels,
    panels,
    rules,
    selectors,
    yaml,
)

ROOT = MONITORING.parents[1]


def test_the_dashboards_in_the_repository_are_the_generated_ones() -> None:
    made = made_dashboards()
    differing = {file.name for file, text in made.items() if not file.is_file() or file.read_text() != text}
    assert (differing, set(dashboards()) - set(made)) == (set(), set()), "run python -m infra.monitoring.generate"


@pytest.mark.parametrize("file", dashboards(), ids=lambda file: file.stem)
def test_a_panel_says_what_it_shows_and_in_which_unit(file: Path) -> None:
    for panel in panels(file):
        assert panel["title"] and panel["description"].endswith("."), panel
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"] and all(target["legendFormat"] for target in panel["targets"]), panel["title"]
    numbers = [panel["id"] for panel in panels(file)]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("file", dashboards(), ids=lambda file: file.stem)
def test_a_legend_names_labels_that_the_query_leaves(file: Path) -> None:
    for panel in panels(file):
        for target in panel["targets"]:
            grouped = set.intersection(*(each.labels for each in selectors(filled_in(target["expr"]))))
            named = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert named <= grouped, (panel["title"], named - grouped)


def test_every_query_asks_about_the_chosen_sessions_only() -> None:
    strays = [
        (asked.who, each.text)
        for asked in of_panels()
        for each in selectors(asked.expression)
        if 'SessionName=~".*"' not in each.text
    ]
    assert strays == []


def test_alerts_that_panels_name_exist() -> None:
    texts = [panel["description"] for file in dashboards() for panel in panels(file)]
    named = {name for text in texts for name in re.findall(r"the alert (\w+)", text)}
    assert named and named <= {rule["alert"] for rule in rules()}


def test_our_own_metrics_in_panels_and_alerts_are_those_of_the_code() -> None:
    """A run is asked too, in a long test: this finds a misspelt name at once."""
    files = ("platform/vlm3/train/callbacks/step_metrics.py", "serve/meters.py")
    source = "\n".join((ROOT / file).read_text() for file in files)
    published = {
        f"ray_vlm3_{group}_{figure}"
        for group, figure in re.findall(r'"(train|data|mixture)/(?:\{name\}/)?(\w+)"', source)
    }
    published |= {f"ray_{name}" for name in re.findall(r'Gauge\(\s*"(\w+)"', source)}
    published |= {f"ray_{name}_total" for name in re.findall(r'Counter\(\s*"(\w+)"', source)}
    asked = {each.metric for one in of_panels() + of_alerts() for each in selectors(one.expression)}
    ours = {name for name in asked if name.startswith("ray_vlm3_")}
    assert len(ours) > 15 and ours - published == set()


def test_grafanas_files_agree_with_the_rest() -> None:
    """What can be said without a Grafana."""
    folder = MONITORING / "grafana" / "provisioning"
    (source,) = yaml(folder / "datasources" / "prometheus.yml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["jsonData"]["timeInterval"] == yaml(MONITORING / "prometheus.yml")["global"]["scrape_interval"]
    (provider,) = yaml(folder / "dashboards" / "vlm3.yml")["providers"]
    assert provider["options"]["path"] in (MONITORING / "README.md").read_text()
