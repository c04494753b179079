"""Every component starts with the packages of its image and no others: on this machine, without an engine."""

import importlib
import shutil
from pathlib import Path
from typing import get_args

import pytest

from components.images import PROGRAMS, Target, image

COMPONENTS = sorted(
    file.parent.name for file in (Path(__file__).resolve().parents[3] / "components").glob("*/__main__.py")
)


def target_of(name: str) -> str:
    if name in PROGRAMS:
        return PROGRAMS[name]
    component = getattr(importlib.import_module(f"components.{name}.component"), name)
    asked = component.component_spec.implementation.container.image
    return next(target for target in get_args(Target) if image(target) == asked)


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPONENTS)
def test_component_explains_itself_with_only_its_images_packages(slim, name):
    done = slim(target_of(name)).run("-m", f"components.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m components.{name}")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPONENTS)
def test_all_modules_of_a_component_import_with_only_its_images_packages(slim, project, name):
    folder = project / "components" / name
    modules = [
        ".".join(file.relative_to(project).with_suffix("").parts)
        for file in folder.rglob("*.py")
        # The face towards kfp is read where pipelines are compiled.
        if file.name not in ("__main__.py", "component.py")
    ]
    done = slim(target_of(name)).run("-c", f"import {', '.join(modules)}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", get_args(Target))
def test_every_image_has_the_command_line(slim, target):
    done = slim(target).run("-m", "pipelines.cli", "--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["data", "registry"])
def test_images_that_run_no_model_have_no_torch(slim, target):
    assert slim(target).run("-c", "import torch").returncode == 1


@pytest.mark.parametrize("target", ["data", "train", "registry"])
def test_images_of_steps_have_kubeflows_launcher(slim, target):
    done = slim(target).run("-m", "kfp.dsl.executor_main", "--help")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_gate_judges_with_only_the_registrys_packages(slim, bundles, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_bytes((bundles[1] / "policy.json").read_bytes())
    done = slim("registry").run(
        "-m", "pipelines.cli", "gate", "--candidate", str(bundles[1] / "evaluation.json"), "--policy", str(policy),
        SPINELINE_ROOT=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("target", ["serve", "train"])
def test_a_models_golden_case_is_answered_with_only_what_the_image_has(slim, bundles, target):
    code = """
import sys, pathlib, torch
from model_registry.bundle import Bundle
from model_registry.models import check_golden_case, load_segmenter
bundle = Bundle(pathlib.Path(sys.argv[1]))
check_golden_case(load_segmenter(bundle, device=torch.device('cpu'), threads=1), bundle, version=1)
"""
    done = slim(target).run("-c", code, str(bundles[1]))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_model_of_a_version_is_written_with_only_the_registrys_packages(slim, bundles, tmp_path):
    code = """
import datetime, pathlib, sys
from model_registry.bundle import GOLDEN_IMAGE
from model_registry.pyfunc_model import write_model
folder = pathlib.Path(sys.argv[1])
write_model(
    folder, example=(folder / GOLDEN_IMAGE).read_bytes(), identity="sha256:" + "0" * 64,
    trained_at=datetime.datetime.now(datetime.UTC), environment=["torch==2.13.0"],
)
"""
    folder = shutil.copytree(bundles[1], tmp_path / "bundle")
    done = slim("registry").run("-c", code, str(folder))
    assert done.returncode == 0, done.stderr
    assert "torch==2.13.0" in (folder / "requirements.txt").read_text().splitlines()
    assert slim("registry").run("-c", "import numba").returncode == 1
