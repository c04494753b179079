"""What the suite submits: the user's profile made small, and recipes and a policy of its own, as files."""

import copy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.cluster.configuration import Configuration

PROJECT = Path(__file__).resolve().parents[2]
EXPERIMENT = "cluster-suite"
SHORT, ENDLESS = "cluster-suite", "cluster-suite-endless"
"""Recipes: one that is trained within a minute, and one that is still training whenever a test looks."""
RETRIES = 8
_OWN_SIZES = ("cpu", "cpu_limit", "memory", "shared_memory", "scratch", "gpus", "gpu_type", "timeout_hours", "retries")
_TOO_LITTLE = "200Mi"
"""Less memory than it takes to import torch."""


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def suite_profile(given: dict[str, Any], configuration: Configuration) -> dict[str, Any]:
    """Return the user's profile with steps that fit on a node of 4 cores, and one task per fold.

    Images, claims, secrets, places, node selectors and tolerations stay as they are.
    """
    profile = copy.deepcopy(given)
    profile |= {"name": EXPERIMENT, "about": "The cluster suite's.", "fold_groups": "each"}
    kubeflow = profile.setdefault("kubeflow", {})
    kubeflow |= {"experiment": EXPERIMENT, "namespace": configuration.namespace}
    kubernetes = profile["kubernetes"]
    steps = kubernetes.setdefault("steps", {})
    for settings in (kubernetes.setdefault("defaults", {}), *steps.values()):
        for name in (*_OWN_SIZES, "queue", "priority_class"):
            settings.pop(name, None)
    kubernetes["defaults"] |= {
        "cpu": "500m", "memory": configuration.memory, "scratch": "2Gi", "timeout_hours": 1, "retries": RETRIES,
    }  # fmt: skip
    for step in ("train_folds", "evaluate_folds"):
        steps[step] = {**steps.get(step, {}), "shared_memory": "256Mi"}
    return profile


def with_training(profile: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Return a profile with other settings of the training step; None removes one."""
    changed = copy.deepcopy(profile)
    step = changed["kubernetes"]["steps"]["train_folds"]
    step.update(settings)
    changed["kubernetes"]["steps"]["train_folds"] = {name: value for name, value in step.items() if value is not None}
    return changed


def out_of_memory_profile(profile: dict[str, Any]) -> dict[str, Any]:
    """Return a profile whose training step is killed for memory."""
    return with_training(profile, memory=_TOO_LITTLE, shared_memory=None)


def recipes() -> dict[str, dict[str, Any]]:
    """Return the recipes by name, made from ``quick``."""
    quick = read_yaml(PROJECT / "spine" / "recipes" / "quick.yaml")
    found = {}
    for name, epochs in ((SHORT, 3), (ENDLESS, 1000)):
        found[name] = {**quick, "name": name, "training": {**quick["training"], "folds": [0, 1], "epochs": epochs}}
    return found


def policy() -> dict[str, Any]:
    """Return a policy that any network passes, for versions that the suite promotes."""
    return {
        "name": "cluster-suite",
        "about": "Anything passes; only for the cluster suite.",
        "minimum_scans": 2,
        "floors": {"dice_scan_mean": 0.0},
        "champion": {"rule": "non-inferior", "margin_overall": 0.9, "margin_region": 0.9},
        "separate_approver": True,
    }


def image(profile: dict[str, Any], target: str) -> str:
    """Return the image of a target."""
    from components.images import image as default_image

    return str(profile.get("images", {}).get(target) or default_image(target))


def remote_of(profile: dict[str, Any], configuration: Configuration) -> str | None:
    """Return the DVC remote of the suite's data set: the given one, or a folder of the model store's bucket."""
    if configuration.remote:
        return configuration.remote
    store = str(profile["kubernetes"].get("environment", {}).get("model_store") or "")
    return f"s3://{urlsplit(store).netloc}/cluster-suite/dvc" if store.startswith("s3://") else None
