"""Grafana's dashboards as values: what a panel asks and in which unit; where it lies follows from the order."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["timeseries", "stat", "table", "state-timeline"]
Unit = Literal["none", "short", "s", "dtdurations", "bytes", "percentunit", "reqps", "lengthmm", "bool_yes_no"]

COLUMNS = 24
_SCHEMA_VERSION = 39
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    """One PromQL expression, and how its series are named."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One picture; ``about`` is what its help says."""

    title: str
    about: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    decimals: int | None = None

    def as_json(self, *, number: int, x: int, y: int) -> dict[str, Any]:
        """Return Grafana's panel at a place of its grid."""
        defaults: dict[str, Any] = {"unit": self.unit, "noValue": "none"}
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": _SOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "options": _options(self.kind),
            "targets": [self._target(place, query) for place, query in enumerate(self.queries)],
        }

    def _target(self, place: int, query: Query) -> dict[str, Any]:
        is_instant = self.kind in ("stat", "table")
        return {
            "refId": chr(ord("A") + place),
            "datasource": _SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend,
            "instant": is_instant,
            "range": not is_instant,
            "format": "table" if self.kind == "table" else "time_series",
        }


@dataclass(frozen=True)
class Variable:
    """A choice of several values of a label, all by default."""

    name: str
    label: str
    metric: str

    def as_json(self) -> dict[str, Any]:
        """Return Grafana's variable."""
        asked = f"label_values({self.metric}, {self.name})"
        return {
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": _SOURCE,
            "definition": asked,
            "query": {"query": asked, "refId": self.name},
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, laid out from left to right in rows."""

    uid: str
    title: str
    about: str
    variables: tuple[Variable, ...]
    panels: tuple[Panel, ...]
    hours: int = 6

    def text(self) -> str:
        """Return the page as Grafana imports it."""
        source = {
            "type": "datasource",
            "name": "datasource",
            "label": "Prometheus",
            "query": "prometheus",
            "refresh": 1,
        }
        page = {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["spineline"],
            "schemaVersion": _SCHEMA_VERSION,
            "timezone": "utc",
            "refresh": "30s",
            "time": {"from": f"now-{self.hours}h", "to": "now"},
            "templating": {"list": [source, *(variable.as_json() for variable in self.variables)]},
            "panels": _placed(self.panels),
        }
        return json.dumps(page, indent=2, ensure_ascii=False) + "\n"


def _placed(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    placed, x, y, tallest = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, tallest = 0, y + tallest, 0
        placed.append(panel.as_json(number=number, x=x, y=y))
        x, tallest = x + panel.width, max(tallest, panel.height)
    return placed


def _options(kind: Kind) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "auto", "colorMode": "none"}
    if kind == "timeseries":
        return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
    return {}
