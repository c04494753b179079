"""MLflow's runs of a Kubeflow run, read through MLflow's REST API."""

import json
import urllib.request
from typing import Any

from model_registry.mlflow_names import KUBEFLOW_RUN_TAG


def mlflow_states(address: str, kubeflow_run: str) -> list[str]:
    """Return the states of the MLflow runs that a Kubeflow run trained, such as ``RUNNING`` or ``KILLED``."""
    experiments = _post(address, "experiments/search", {"max_results": 100}).get("experiments", [])
    found = _post(
        address,
        "runs/search",
        {
            "experiment_ids": [one["experiment_id"] for one in experiments],
            "filter": f"tags.`{KUBEFLOW_RUN_TAG}` = '{kubeflow_run}'",
            "max_results": 100,
        },
    )
    return [run["info"]["status"] for run in found.get("runs", [])]


def _post(address: str, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{address}/api/2.0/mlflow/{path}",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        return json.load(answer)
