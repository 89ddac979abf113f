"""The two kinds of panel of our dashboards, and what all dashboards share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from grafana_foundation_sdk.builders import common, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableRefresh,
    VariableSort,
)

SESSION = 'SessionName=~"$session"'
"""Selects the series of the chosen clusters: each start of a cluster is a session."""
RUN = f'{SESSION},run=~"$run"'
TRAIN_RUN = f'{SESSION},ray_train_run_name=~"$run"'
"""`RUN` for the figures of Ray Train itself."""
APPLICATION = f'{SESSION},application=~"$application"'

Panel = timeseries.Panel | stat.Panel
TAG = "vlm3"
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
FIGURE_HEIGHT, CHART_HEIGHT = 4, 8
"""In units of Grafana's grid; a row of it is 24 wide."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask Prometheus, and what to call the answer."""

    expression: str
    legend: str
    """Grafana replaces `{{label}}` by the value of the label."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """From which value on a figure deserves a look."""

    value: float
    bad_above: bool = True
    """Otherwise it is bad below the value."""

    def build(self) -> ThresholdsConfig:
        """Green on the good side, red on the other."""
        below, above = ("green", "red") if self.bad_above else ("red", "green")
        steps = [Threshold(value=None, color=below), Threshold(value=self.value, color=above)]
        return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


PLAIN = ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value=None, color="text")])


def chart(
    title: str, about: str, unit: str, *queries: Query, width: int = 12, bounds: Bounds | None = None
) -> timeseries.Panel:
    """Curves over time; a dashed line marks the bounds.

    Args:
        title: what is drawn.
        about: what it means, and what to do if it is bad; shown at the panel's (i).
        unit: one of Grafana's, or `suffix: text`.
        queries: one or more curves each.
        width: of 24.
        bounds: where a curve becomes bad.
    """
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
    panel = timeseries.Panel().title(title).description(about).unit(unit).datasource(SOURCE)
    panel = panel.height(CHART_HEIGHT).span(width).fill_opacity(8).legend(legend.show_legend(True))
    panel = panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if bounds is not None:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(bounds.build()).thresholds_style(style)
    for query in _targets(queries):
        panel = panel.with_target(query)
    return panel


def figure(
    title: str,
    about: str,
    unit: str,
    *queries: Query,
    width: int = 4,
    bounds: Bounds | None = None,
    named: bool = False,
    texts: dict[int, str] | None = None,
) -> stat.Panel:
    """The last value as a large number.

    Args:
        title: what is shown.
        about: what it means.
        unit: one of Grafana's, or `suffix: text`.
        queries: one or more numbers each.
        width: of 24.
        bounds: where the number becomes bad.
        named: the legend stands beside each number, also if there is only one.
        texts: what to show in place of these numbers.
    """
    panel = stat.Panel().title(title).description(about).unit(unit).datasource(SOURCE)
    panel = panel.height(FIGURE_HEIGHT).span(width).thresholds(PLAIN if bounds is None else bounds.build())
    panel = panel.graph_mode(BigValueGraphMode.NONE).reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = panel.text_mode(BigValueTextMode.VALUE_AND_NAME if named else BigValueTextMode.AUTO)
    if texts is not None:
        shown = {str(value): ValueMappingResult(text=text, index=i) for i, (value, text) in enumerate(texts.items())}
        panel = panel.mappings([ValueMap(options=shown)])
    for query in _targets(queries):
        panel = panel.with_target(query)
    return panel


def of_run(metric: str, legend: str, *labels: str) -> Query:
    """A figure of the last step of each run, by these labels; a run that starts again has two processes for a while."""
    by = ", ".join(("run", *labels))
    return Query(f"max by ({by}) (ray_vlm3_{metric}{{{RUN}}})", legend)


def dashboard(
    uid: str, title: str, about: str, variable: QueryVariable, rows: Mapping[str, Sequence[Panel]]
) -> Dashboard:
    """A dashboard with links to the other ones. One chooses the data source, Ray's session and what `variable` offers.

    Args:
        uid: its address; never changes.
        title: its name in Grafana.
        about: one sentence.
        variable: what one can choose further.
        rows: headings, and the panels below each.
    """
    links = DashboardLink("VLM3").type(DashboardLinkType.DASHBOARDS).tags([TAG]).include_vars(True).keep_time(True)
    board = Dashboard(title).uid(uid).description(about).tags([TAG]).link(links)
    board = board.time("now-1h", "now").refresh("30s").timezone("browser").readonly()
    board = board.tooltip(DashboardCursorSync.CROSSHAIR)
    session = choice("session", "Ray session", "ray_node_cpu_count", "SessionName")
    board = board.with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    board = board.with_variable(session).with_variable(variable)
    # Links to a panel hold its number.
    number = count(1)
    for heading, panels in rows.items():
        board = board.with_row(Row(heading).id(next(number)))
        for panel in panels:
            board = board.with_panel(panel.id(next(number)))
    return board


def choice(name: str, label: str, metric: str, values_of: str) -> QueryVariable:
    """A variable: which values of a label of a metric to show; all of them at first."""
    query = f"label_values({metric}, {values_of})"
    variable = QueryVariable(name).label(label).datasource(SOURCE).query(query).definition(query)
    variable = variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_DESC)
    return variable.multi(True).include_all(True).all_value(".*")


def _targets(queries: Sequence[Query]) -> list[Dataquery]:
    return [
        Dataquery().expr(query.expression).legend_format(query.legend).range().ref_id(chr(ord("A") + i))
        for i, query in enumerate(queries)
    ]
