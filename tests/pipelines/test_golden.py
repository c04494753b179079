"""The compiled pipelines against golden files, by meaning; one line renews them, and their difference is the review.

SPINELINE_RENEW=1 .venv/bin/python -m pytest tests/pipelines/test_golden.py
"""

import os
from pathlib import Path

import pytest
import yaml

from pipelines.compiling import compile_all, meaning
from pipelines.profile import load_profile

FOLDER = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    files = compile_all(profile=load_profile("kubernetes"), folds=[0, 1, 2], output=tmp_path_factory.mktemp("compiled"))
    return {file.stem: list(yaml.safe_load_all(file.read_text())) for file in files}


@pytest.mark.parametrize("name", ["train-candidate", "promote-approved", "roll-back"])
def test_a_pipeline_means_what_its_golden_file_says(name, compiled):
    golden = FOLDER / f"{name}.yaml"
    if os.environ.get("SPINELINE_RENEW"):
        golden.write_text(yaml.safe_dump_all(meaning(compiled[name]), sort_keys=True))
    assert meaning(compiled[name]) == list(yaml.safe_load_all(golden.read_text()))


def test_order_and_the_compiler_s_version_mean_nothing(compiled):
    changed = yaml.safe_load_all(yaml.safe_dump_all(compiled["roll-back"], sort_keys=False))
    (ir, platform) = changed
    ir = dict(reversed(ir.items())) | {"sdkVersion": "kfp-9.9.9"}
    (container,) = (executor["container"] for executor in ir["deploymentSpec"]["executors"].values())
    container["env"].reverse()
    assert meaning([ir, platform]) == meaning(compiled["roll-back"])


def test_arguments_images_and_source_mean_something(compiled):
    for change in (
        lambda container: container["command"].reverse(),
        lambda container: container.update(image="other:1"),
        lambda container: container.update(command=[part + "\n" for part in container["command"]]),
    ):
        ir, platform = yaml.safe_load_all(yaml.safe_dump_all(compiled["roll-back"]))
        (container,) = (executor["container"] for executor in ir["deploymentSpec"]["executors"].values())
        change(container)
        assert meaning([ir, platform]) != meaning(compiled["roll-back"])
