"""What dashboards and alerts ask Prometheus, and which series an expression selects."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import promql_parser
from ruamel.yaml import YAML

MONITORING = Path(__file__).resolve().parents[3] / "infra" / "monitoring"
VARIABLES = {"$session": ".*", "$run": ".*", "$application": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in for its variables where all is chosen."""


@dataclass(frozen=True)
class Asked:
    """An expression, and who asks."""

    who: str
    expression: str


@dataclass
class Selected:
    """A selector of an expression."""

    metric: str
    text: str
    """As PromQL, without its offset."""
    labels: set[str] = field(default_factory=set)
    """Labels that the expression uses of it: to match, or to group by."""


def yaml(file: Path) -> Any:
    return YAML(typ="safe").load(file)


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    files = sorted(MONITORING.glob("rules/*.yml"))
    return [rule for file in files for group in yaml(file)["groups"] for rule in group["rules"]]


def dashboards() -> list[Path]:
    return sorted(MONITORING.glob("dashboards/*.json"))


def panels(file: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard, without the rows."""
    return [panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row"]


def of_panels() -> list[Asked]:
    """Each expression of each panel, with all values chosen."""
    found = []
    for file in dashboards():
        for panel in panels(file):
            who = f"{file.stem}: {panel['title']}"
            found += [Asked(who, filled_in(target["expr"])) for target in panel["targets"]]
    return found


def filled_in(expression: str) -> str:
    """An expression of a panel with a value for each of Grafana's variables."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def of_alerts() -> list[Asked]:
    return [Asked(rule["alert"], rule["expr"]) for rule in rules()]


def selectors(expression: str) -> list[Selected]:
    """The selectors of an expression; a fault of its grammar is a ValueError."""
    found: list[Selected] = []
    for selector, groups in _walk(promql_parser.parse(expression)):
        matchers = selector.matchers.matchers
        assert selector.name is not None, expression
        braces = ",".join(str(matcher) for matcher in matchers)
        labels = {matcher.name for matcher in matchers}.union(*groups)
        found.append(Selected(selector.name, f"{selector.name}{{{braces}}}", labels))
    return found


def _walk(
    root: promql_parser.Expr,
) -> Iterator[tuple[promql_parser.VectorSelector, list[set[str]]]]:
    """Selectors, and the labels by which they are grouped on the way up."""
    open_groups: list[set[str]] = []
    met: list[tuple[promql_parser.VectorSelector, list[set[str]]]] = []

    def before(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            by = node.modifier is not None and node.modifier.type == promql_parser.AggModifierType.By
            open_groups.append(set(node.modifier.labels) if by and node.modifier is not None else set())
        elif isinstance(node, promql_parser.VectorSelector):
            met.append((node, list(open_groups)))

    def after(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.AggregateExpr):
            open_groups.pop()

    promql_parser.walk(root, before, after)
    yield from met
