"""Decoded cases: each is decoded once where there is room, again where there isn't, and nothing of them is left."""

import json
import signal
import subprocess
import sys
from types import SimpleNamespace

import blosc2
import nibabel
import numpy as np
import pytest

from spine.nnunet import cases, decoded, parallel, preprocessed
from spine.nnunet.cases import read_case, training_cases
from spine.nnunet.decoded import Scratch
from spine.nnunet.planning import plan_and_preprocess
from spine.nnunet.workspace import Workspace

PROGRAM = """
import os, signal, sys
from pathlib import Path
from spine.nnunet.planning import plan_and_preprocess
from spine.nnunet.workspace import Workspace
from spine.recipe import PlanRecipe

def between_the_passes(task, done, total):
    if (task, done) == ("fingerprint", total):
        os.kill(os.getpid(), signal.SIGKILL)

workspace = Workspace.below(Path(sys.argv[2]))
workspace.activate()
recipe = PlanRecipe.from_json(sys.argv[3], where="test")
plan_and_preprocess(dataset=Path(sys.argv[1]), workspace=workspace, recipe=recipe, on_case=between_the_passes)
"""


@pytest.fixture
def plan(dataset, plan_recipe, tmp_path):
    """Plan in this test's own folder; return how many cases were in the scratch whenever one was done."""
    workspace = Workspace.below(tmp_path / "plan")

    def run(*, threads=1):
        workspace.activate()
        seen = []

        def on_case(task, done, total):
            seen.append((task, len(list(workspace.preprocessed.glob(".decoded/*")))))

        plan_and_preprocess(dataset=dataset, workspace=workspace, recipe=plan_recipe, on_case=on_case, threads=threads)
        return seen

    run.workspace = workspace
    return run


def contents(workspace):
    """All files that a plan leaves: arrays, of whose files some bytes are left to chance, by their values."""
    found = {}
    for path in workspace.preprocessed.rglob("*.*"):
        if path.is_file():
            array = blosc2.open(str(path)) if path.suffix == ".b2nd" else None
            found[path.relative_to(workspace.preprocessed)] = (
                path.read_bytes() if array is None else (array.dtype, array[:].tobytes())
            )
    return found


@pytest.mark.parametrize("kept", [pytest.param(8, marks=pytest.mark.slow), 3, pytest.param(0, marks=pytest.mark.slow)])
def test_cases_are_decoded_once_as_far_as_there_is_room_and_results_are_the_same(
    kept, plan, planned, dataset, monkeypatch
):
    opened = []
    read = cases.read_volume
    monkeypatch.setattr(cases, "read_volume", lambda path: opened.append(path.name) or read(path))
    names = training_cases(dataset)
    kept = min(kept, len(names))
    monkeypatch.setattr(decoded.Scratch, "grant", granting(names[:kept]))
    seen = plan()
    counts = {name: opened.count(f"{name}_0000.nii.gz") for name in names}
    assert counts == {name: 1 if name in names[:kept] else 2 for name in names}
    assert [opened.count(f"{name}.nii.gz") for name in names] == list(counts.values())
    left = [count for task, count in seen if task == "preprocess"]
    assert left == [max(kept - done, 0) for done in range(1, len(names) + 1)], "removed as each is done"
    assert contents(plan.workspace) == contents(Workspace.below(planned[0]))


def granting(names):
    grant = Scratch.grant
    return lambda self, sizes: grant(
        self, {image: size for image, size in sizes.items() if image.name.removesuffix("_0000.nii.gz") in names}
    )


def test_what_is_granted_stays_within_its_share_of_memory_and_disk(tmp_path, monkeypatch):
    sizes = {tmp_path / name: size for name, size in (("a", 60), ("b", 50), ("c", 40), ("d", 1))}
    monkeypatch.setattr(decoded, "free_memory", lambda: 100 * decoded._SHARE_OF_MEMORY)
    assert Scratch(tmp_path).grant(sizes).granted == {"a": 60, "c": 40}
    free = 61 * decoded._SHARE_OF_DISK
    monkeypatch.setattr(decoded.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert Scratch(tmp_path).grant(sizes).granted == {"a": 60, "d": 1}


@pytest.mark.parametrize(("stored", "slope"), [(np.int16, 1), (np.float32, 1), (np.float32, 0.1)])
def test_a_kept_case_is_read_as_it_was_decoded(tmp_path, stored, slope):
    image, labels = write_case(tmp_path, stored=stored, slope=slope)
    case = read_case(image, labels)
    scratch = Scratch(tmp_path / "scratch").grant({image: case.image.nbytes + case.labels.nbytes})
    scratch.keep(image, case)
    image.unlink()
    kept = scratch.read(image, labels)
    for ours, theirs in ((kept.image, case.image), (kept.labels, case.labels)):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert repr(kept.properties) == repr(case.properties), "numbers are of the same types, too"


def test_a_case_that_is_larger_than_its_header_says_or_finds_no_disk_is_not_kept(tmp_path):
    image, labels = write_case(tmp_path, stored=np.int16, slope=0.1)
    case = read_case(image, labels)
    promised = cases.TrainingCase(name="scan", image=image, labels=labels).decoded_bytes
    assert promised < case.image.nbytes + case.labels.nbytes, "the scaled image is of wider numbers"
    scratch = Scratch(tmp_path / "scratch").grant({image: promised})
    scratch.keep(image, case)
    assert not list(scratch.folder.iterdir())
    scratch = scratch.grant({image: 1 << 20})
    scratch.give_up()
    scratch.keep(image, case)
    assert not scratch.folder.exists()
    np.testing.assert_array_equal(scratch.read(image, labels).image, case.image)


def write_case(folder, *, stored, slope):
    paths = folder / "scan_0000.nii.gz", folder / "scan.nii.gz"
    values = np.arange(60).reshape(3, 4, 5)
    affine = np.array([[0, -0.9, 0, 5], [0.8, 0, 0, -7], [0, 0, 1.3, 11], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(values.astype(stored), affine)
    image.header.set_slope_inter(slope, 0)
    for path, volume in zip(paths, (image, nibabel.Nifti1Image((values % 5).astype(np.uint8), affine)), strict=True):
        nibabel.save(volume, path)
    return paths


@pytest.mark.slow
def test_a_disk_with_room_for_either_scratch_or_results_gets_the_results(plan, planned, monkeypatch):
    usage = preprocessed.shutil.disk_usage

    def short(path):
        is_filled = any(plan.workspace.preprocessed.glob(".decoded/*"))
        return SimpleNamespace(free=1000) if is_filled else usage(path)

    monkeypatch.setattr(preprocessed.shutil, "disk_usage", short)
    seen = plan()
    assert [count for task, count in seen if task == "fingerprint"][-1] > 0
    assert {count for task, count in seen if task == "preprocess"} == {0}
    assert contents(plan.workspace) == contents(Workspace.below(planned[0]))


@pytest.mark.slow
def test_processes_share_one_budget_and_take_from_one_scratch(plan, planned, dataset, monkeypatch):
    monkeypatch.setattr(parallel, "_VOXELS_WORTH_A_WORKER", 1)
    monkeypatch.setattr(decoded.Scratch, "grant", granting(training_cases(dataset)[:3]))
    seen = plan(threads=2)
    assert [count for task, count in seen if task == "fingerprint"][-1] == 3
    assert contents(plan.workspace) == contents(Workspace.below(planned[0]))


@pytest.mark.slow
def test_a_run_killed_between_the_passes_is_continued_without_what_it_left(plan, planned, dataset, plan_recipe):
    script = plan.workspace.preprocessed.parent.with_name("program.py")
    script.write_text(PROGRAM)
    folder, recipe = str(script.with_name("plan")), json.dumps(plan_recipe.model_dump())
    killed = subprocess.run([sys.executable, str(script), str(dataset), folder, recipe], check=False)
    assert killed.returncode == -signal.SIGKILL
    left = list(plan.workspace.preprocessed.glob(".decoded/*"))
    assert len(left) == len(training_cases(dataset))
    for file in left:
        file.write_bytes(file.read_bytes()[:100])
    plan()
    assert contents(plan.workspace) == contents(Workspace.below(planned[0]))
