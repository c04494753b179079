"""Cases side by side: as many as memory allows, one told by name where its process dies, none left half-written."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from spine.nnunet.parallel import PoolPlan, WorkerDiedError, crew_for, each_case
from spine.nnunet.planning import plan_and_preprocess, training_cases
from spine.nnunet.workspace import Workspace
from spine.workers import free_memory

DIES, LIVES = "import os; os._exit(9)", "pass"
PROGRAM = """
import sys
from pathlib import Path
from spine.nnunet import parallel, planning
from spine.nnunet.workspace import Workspace
from spine.recipe import PlanRecipe

if __name__ == "__main__":
    parallel._VOXELS_WORTH_A_WORKER = 1
    workspace = Workspace.below(Path(sys.argv[2]))
    workspace.activate()
    recipe = PlanRecipe.from_json(sys.argv[3], where="test")
    told = lambda *progress: print(*progress, flush=True)
    planning.plan_and_preprocess(
        dataset=Path(sys.argv[1]), workspace=workspace, recipe=recipe, on_case=told, threads=2
    )
"""


def test_little_work_is_done_in_this_process_and_much_by_as_many_as_fit_in_memory():
    assert crew_for(voxels=1000, bytes_a_case=1, cases=8, threads=4).processes == 0
    large = 10**10
    assert crew_for(voxels=large, bytes_a_case=1, cases=8, threads=1).processes == 1
    assert crew_for(voxels=large, bytes_a_case=1, cases=1, threads=4) == PoolPlan(processes=1, threads=4)
    half = int(free_memory() * 0.6)
    assert crew_for(voxels=large, bytes_a_case=half, cases=8, threads=4) == PoolPlan(processes=1, threads=4)


@pytest.mark.slow
def test_a_case_whose_process_is_killed_is_named_after_the_others_are_done():
    done = []
    with pytest.raises(WorkerDiedError, match=r"case 'import os; os\._exit\(9\)'.*5\.\d GB free"):
        for case in each_case(exec, {LIVES: 1, DIES: 5 * 10**9}, crew=PoolPlan(processes=1, threads=1)):
            done.append(case)
    assert done == [LIVES]


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_no_process_and_no_half_case_and_is_continued(
    ending, planned, dataset, plan_recipe, tmp_path
):
    command = [sys.executable, "-c", PROGRAM, str(dataset), str(tmp_path), json.dumps(plan_recipe.model_dump())]
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command[1:3] = [str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        for line in process.stdout:
            if line.startswith("preprocess"):
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 1, "it works with processes"
        process.send_signal(ending)
    deadline = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in family):
        assert time.monotonic() < deadline, "processes are left"
        time.sleep(0.1)
    workspace = Workspace.below(tmp_path)
    folder = workspace.dataset / "nnUNetPlans_3d_fullres"
    for whole in folder.glob("*.pkl"):
        assert {f"{whole.stem}.b2nd", f"{whole.stem}_seg.b2nd"} <= {path.name for path in folder.iterdir()}
    workspace.activate()
    digest = plan_and_preprocess(dataset=dataset, workspace=workspace, recipe=plan_recipe, on_case=lambda *_: None)
    assert digest == planned[1]
    assert sorted(path.stem for path in folder.glob("*.pkl")) == training_cases(dataset)
    assert not list(workspace.preprocessed.glob(".partial-*"))
