"""Import contracts hold: one direction, no circles, and `--help` imports nothing heavy."""

import graphlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

PROJECT = Path(__file__).resolve().parents[2]


def test_import_contracts_are_kept():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_kubeflows_model_registry_client_does_not_cover_ours():
    installed = {distribution.metadata["Name"] for distribution in importlib.metadata.distributions()}
    assert "model-registry" not in installed, "Kubeflow's client `model-registry` installs over our model_registry"


@pytest.mark.parametrize(
    "module", ["pipelines.cli.app", "components.serve_model.server_info", "model_registry.lifecycle"]
)
def test_light_modules_import_nothing_heavy(module):
    code = f"import sys, {module}; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


HEAVY = ["torch", "mlflow", "nnunetv2", "kfp", "dvc", "fastapi", "matplotlib", "boto3"]


def test_only_settings_reads_the_environment():
    reading = ("os.environ.get", "os.getenv", "environ[")
    offenders = []
    for room in ("spine", "model_registry", "components", "pipelines"):
        for path in (PROJECT / room).rglob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                # Writing nnU-Net's variables is how its folders are set; reading is what must stay in one place.
                writes = line.strip().startswith("os.environ[") and "] = " in line
                if any(word in line for word in reading) and not writes and path.name != "settings.py":
                    offenders.append(f"{path.relative_to(PROJECT)}: {line.strip()}")
    assert offenders == []


def test_no_modules_import_one_another_in_a_circle():
    graph = grimp.build_graph("spine", "model_registry", "components", "pipelines")
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # Raises CycleError with the modules of a circle; imports for type checkers and within functions count.
    order = list(graphlib.TopologicalSorter(imported).static_order())
    assert len(order) == len(imported) > 400
