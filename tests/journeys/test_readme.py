"""Every command of the README and of the documents behind it is run here, with a tiny recipe."""

import shlex
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from spine.phantom.raw_set import write_raw_set
from spine.storage import write_json
from spine.volume.nifti import Volume, read_labels, write_volume

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("README.md", *(f"docs/{name}.md" for name in ("data", "training", "evaluation", "versions")))
RUN_BY_CI = {"make demo", "make test", "source .venv/bin/activate"}


@pytest.fixture(scope="module")
def project(workstation, demonstrated):
    """A clone-like folder of the workstation: the data side of the project, raw scans, masks, a scan to segment."""
    folder = workstation.folder / "state" / "own-scans"
    folder.mkdir()
    for name in ("dvc.yaml", "params.yaml", "set_aside.yaml"):
        shutil.copy(PROJECT / name, folder / name)
    shutil.copytree(PROJECT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    write_raw_set(folder / "data" / "raw", scans=14, seed=4)
    (folder / ".gitignore").write_text("/data/\n/.spineline/\n")
    for arguments in (["init", "-q"], ["config", "user.name", "t"], ["config", "user.email", "t@localhost"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    shutil.copy(folder / "data/raw/volumes/case_0001.nii.gz", folder / "scan.nii.gz")
    for name in ("labels", "masks"):
        shutil.copytree(folder / "data/raw/segmentations", folder / name)
    _evaluate_as_today(folder)
    return folder


def _evaluate_as_today(folder):
    """What a group has before it knows us: nnU-Net's own summary, and evaluations of two trainings."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    from spine.metrics.folders import evaluate_folders

    references, masks = folder / "labels", folder / "masks"
    (folder / "today").mkdir()
    compute_metrics_on_folder(
        str(references), str(masks), str(folder / "today" / "summary.json"), SimpleITKIO(), ".nii.gz",
        list(range(1, 26)), num_processes=1,
    )  # fmt: skip
    other = shutil.copytree(masks, folder / "other-masks")
    for path in sorted(other.iterdir())[:5]:
        mask = read_labels(path)
        array = mask.array.copy()
        array[::9] = 0
        write_volume(path, Volume(array=array, grid=mask.grid))
    for seed, predictions in ((1, masks), (2, other)):
        evaluation = evaluate_folders(
            references=references, predictions=predictions, name=f"seed {seed}", surfaces=False
        )
        write_json(folder / f"seed-{seed}.json", evaluation.model_dump(mode="json"))


def adapted(command, workstation):
    """Put the tiny recipe, the lenient policy and this test's port in place of the README's."""
    replaced = {
        "--recipe spine --policy research": f"--recipe {workstation.folder}/own.yaml "
        f"--policy {workstation.folder}/lenient.yaml",
        "--recipe quick --repository .spineline/demo-data": f"--recipe {workstation.folder}/own.yaml "
        f"--repository {workstation.root}/demo-data",
        "8642": workstation.environment["SPINELINE_PORT"],
        "my-cluster.yaml": "kubernetes",
        "approve 1 ": "approve 3 ",
        "promote 1 ": "promote 3 ",
    }
    for old, new in replaced.items():
        command = command.replace(old, new)
    return command


EXPECTED_STATUS = {
    "spineline run --on kubernetes": 2,  # no cluster listens here: one line that says so
    "spineline follow": 2,
    "spineline run --recipe quick": 1,  # hardly trained: the policy's floors are not reached
    "spineline noise": 1,  # a handful of scans differ by more than a real policy's margins
    "spineline gate": 1,  # a handful of scans decide nothing under a real policy
}


def test_every_command_of_the_documents_does_what_it_says(workstation, project, shell_commands):
    (workstation.folder / "own.yaml").write_text(
        (workstation.folder / "first.yaml").read_text().replace("first", "own")
    )
    ran = []
    for command in (each for name in DOCUMENTS for each in shell_commands(PROJECT / name)):
        if command in RUN_BY_CI:
            continue
        if command == "kubectl apply -k my-overlay/":  # shown by docs/install.md, rendered by test_docs.py
            continue
        if command == "spineline ui":
            _ui_opens(workstation, project)
            continue
        done = subprocess.run(
            ["bash", "-c", adapted(command, workstation)],
            cwd=project,
            env=workstation.environment,
            capture_output=True,
            text=True,
            timeout=400,
        )
        expected = next((status for start, status in EXPECTED_STATUS.items() if command.startswith(start)), 0)
        assert done.returncode == expected, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        ran.append(shlex.split(command)[0])
    assert ran.count("spineline") >= 12
    assert (project / "mask.nii.gz").stat().st_size > 0
    (workstation.folder / "own.yaml").unlink()


def _ui_opens(workstation, project):
    with_port = ["spineline", "ui", "--port", "0"]
    port = _free_port()
    with_port[-1] = str(port)
    ui = subprocess.Popen(with_port, cwd=project, env=workstation.environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                    assert answer.status == 200
                    return
            except OSError:
                time.sleep(0.5)
        pytest.fail("MLflow's pages did not open")
    finally:
        subprocess.run(["pkill", "-TERM", "-s", str(ui.pid)], check=False)
        ui.wait(timeout=30)


def _free_port():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
