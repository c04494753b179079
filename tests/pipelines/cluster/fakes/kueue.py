"""The contract of Kueue's objects: the fields that each version of its API has."""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

KINDS = {
    "localqueues": "LocalQueue",
    "clusterqueues": "ClusterQueue",
    "workloadpriorityclasses": "WorkloadPriorityClass",
}


def check(item: dict[str, Any]) -> None:
    """Raise jsonschema.ValidationError for an object whose version and kind do not have its fields."""
    version = item["apiVersion"].removeprefix("kueue.x-k8s.io/")
    schemas = _schemas()
    schema = {
        "$defs": schemas["$defs"],
        "type": "object",
        "additionalProperties": False,
        "properties": {
            **{name: {} for name in ("apiVersion", "kind", "metadata")},
            **schemas["versions"][version][item["kind"]],
        },
    }
    jsonschema.validate(item, schema)


@cache
def _schemas() -> Any:
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
