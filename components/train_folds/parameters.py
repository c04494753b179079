"""What a candidate was trained with: the parameters of its run in MLflow."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from components.train_folds.candidate import Candidate
from model_registry.champion import dataset_of
from spine.recipe import Recipe
from spine.settings import settings
from spine.storage import strict_json

_SHOWN_OF_PLANS = ("patch_size", "batch_size", "spacing", "batch_dice", "data_identifier")
_LIBRARIES = ("spineline", "torch", "nnunetv2", "batchgeneratorsv2", "numpy")


def parameters_of(candidate: Candidate, recipe: Recipe) -> dict[str, str]:
    """Return recipe, plans, data, code and libraries by the names under which MLflow compares them."""
    dataset = dataset_of(candidate.root, candidate.plan)
    configuration = candidate.configuration
    sections = {"plan": recipe.plan, "training": recipe.training, "prediction": recipe.prediction}
    chosen = {
        f"{section}.{name}": value
        for section, content in sections.items()
        for name, value in content.model_dump(mode="json").items()
    }
    values: dict[str, Any] = {
        "recipe": recipe.name,
        "recipe_digest": recipe.digest,
        **chosen,
        "plan": candidate.plan.digest,
        "plans_digest": candidate.plan.plans_digest,
        **{f"plans.{name}": configuration.get(name) for name in _SHOWN_OF_PLANS},
        "plans.network": configuration["architecture"]["network_class_name"].rpartition(".")[2],
        "dvc_hash": dataset.dvc_hash,
        "git_revision": dataset.git_revision,
        "cases": dataset.cases,
        "test_cases": dataset.test_cases,
        "started_from": candidate.start_from.digest if candidate.start_from else "random weights",
        "code_revision": code_revision(),
        "image": settings().image or "none",
        "version.python": platform.python_version(),
        **{f"version.{name}": metadata.version(name) for name in _LIBRARIES},
    }
    return {name: value if isinstance(value, str) else strict_json(value) for name, value in values.items()}


def code_revision() -> str:
    """Return the git commit of this code: what the image was built from, or that of the checkout it runs in."""
    if settings().code_revision:
        return str(settings().code_revision)
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return "unknown"
    asked = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "unknown"
