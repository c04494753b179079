"""What comes in between: kills, full disks, crashing decoders, forbidden files; the next run puts it right."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.dataset import Manifest
from spine.errors import InvalidValueError
from spine.storage import digest_file

pytestmark = pytest.mark.slow
CHOICES = Choices(seed=1, test_share=0.3)


def hashes(folder):
    return {path.relative_to(folder): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def unprivileged():
    """A function that runs the step as a user who may not read what its mode forbids, root or not."""
    if os.geteuid():
        drop = []
    elif shutil.which("setpriv"):
        forbidden = "-dac_override,-dac_read_search"
        drop = ["setpriv", f"--bounding-set={forbidden}", f"--inh-caps={forbidden}"]
    else:
        pytest.skip("root reads everything, and there is no setpriv to take that away")

    def run(raw, output):
        command = [*drop, sys.executable, "-m", "components.prepare_dataset", "--raw", str(raw)]
        return subprocess.run([*command, "--output", str(output)], capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("folder", ["volumes", "."])
def test_a_folder_that_may_not_be_read_is_one_line_and_exit_2(raw, tmp_path, unprivileged, folder):
    (raw / folder).chmod(0)
    try:
        done = unprivileged(raw, tmp_path / "prepared")
    finally:
        (raw / folder).chmod(0o755)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert line.startswith(f"error: {raw}") and ": permission denied; expected" in line
    assert not (tmp_path / "prepared").exists()


def test_a_file_that_may_not_be_read_is_quarantined_and_taken_in_once_it_may(many, tmp_path, unprivileged):
    hidden = many / "volumes" / "case_03.nii.gz"
    hidden.chmod(0)
    done = unprivileged(many, tmp_path / "prepared")
    assert done.returncode == 0, done.stderr
    (row,) = Manifest.of(tmp_path / "prepared").quarantine
    (found,) = row.findings
    assert (row.case, found.check) == ("case_03", "readable")
    assert found.message.startswith("volumes/case_03.nii.gz: permission denied")
    hidden.chmod(0o644)
    unprivileged(many, tmp_path / "prepared")
    assert not Manifest.of(tmp_path / "prepared").quarantine


def test_a_kill_in_mid_work_leaves_no_output_and_a_second_run_equals_an_uninterrupted_one(prepared, many, tmp_path):
    whole, _ = prepared
    output = tmp_path / "killed" / "prepared"
    command = [sys.executable, "-m", "components.prepare_dataset", "--raw", str(many), "--output", str(output)]
    arguments = [*command, "--seed", "1", "--test-share", "0.3"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert "check and convert" in process.stderr.readline()
        process.kill()
        process.stderr.read()  # ends when the workers have ended, too
    assert process.returncode == -signal.SIGKILL
    assert not output.exists()
    again = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[-1].endswith("0 quarantined")
    assert hashes(output) == hashes(whole)


def test_two_runs_on_one_output_at_once_are_refused(many, tmp_path):
    from components.prepare_dataset.case_store import CaseStore

    with CaseStore(tmp_path / ".prepared.cases").locked(), pytest.raises(InvalidValueError, match="output in work"):
        prepare_dataset(raw=many, output=tmp_path / "prepared", choices=CHOICES)


def small_disk(folder, size):
    """Mount a disk of ``size`` on ``folder``; skips where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")


def test_a_full_disk_is_one_line_and_nothing_takes_the_final_name(many, tmp_path):
    disk = tmp_path / "disk"
    small_disk(disk, "256k")
    output = disk / "prepared"
    try:
        command = [sys.executable, "-m", "components.prepare_dataset", "--raw", str(many), "--output", str(output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told = [line for line in done.stderr.splitlines() if not line.startswith("prepare_dataset: ")]
        assert done.returncode == 2
        assert len(told) == 1 and "no space left on this disk; expected" in told[0]
        assert not output.exists()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        prepare_dataset(raw=many, output=tmp_path / "whole", choices=Choices())
        assert hashes(output) == hashes(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(disk)], check=False)


@pytest.mark.parametrize("delay_s", [0.05, 0.2, 0.4, 0.7, 1.1])
def test_killed_at_any_moment_a_second_run_equals_an_uninterrupted_one(prepared, many, tmp_path, delay_s):
    whole, _ = prepared
    output = tmp_path / "killed" / "prepared"
    command = [sys.executable, "-m", "components.prepare_dataset", "--raw", str(many), "--output", str(output)]
    arguments = [*command, "--seed", "1", "--test-share", "0.3"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stderr.readline()
        time.sleep(delay_s)
        process.kill()
        process.stderr.read()
    subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert hashes(output) == hashes(whole)
    assert not [path for path in output.parent.iterdir() if path.name.startswith(".partial-")]


def test_a_process_that_a_file_brings_down_costs_that_case_only(many, tmp_path, monkeypatch):
    # A decoder can crash on a damaged file; here a hook in the workers does it, for one case.
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import os, sys\n"
        "def trap(event, args):\n"
        "    if event == 'open' and 'case_05_bad' in str(args[0]):\n"
        "        os.kill(os.getpid(), 11)\n"
        "sys.addaudithook(trap)\n"
    )
    for kind in ("volumes", "segmentations"):
        (many / kind / "case_05.nii.gz").rename(many / kind / "case_05_bad.nii.gz")
    command = [sys.executable, "-m", "components.prepare_dataset", "--raw", str(many), "--output"]
    environment = {**os.environ, "PYTHONPATH": f"{hook}{os.pathsep}{Path.cwd()}"}
    done = subprocess.run(
        [*command, str(tmp_path / "prepared")], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    (row,) = Manifest.of(tmp_path / "prepared").quarantine
    assert row.case == "case_05_bad"
    assert "reading it ended the process" in row.findings[0].message
    assert len(Manifest.of(tmp_path / "prepared").cases) == 15
