"""Ctrl-C on a real process that follows a run: it ends, kubectl with it, and the run goes on."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at

pytestmark = pytest.mark.slow


def test_ctrl_c_ends_the_following_and_not_the_run(kfp, submit, profile, tmp_path):
    assert submit("--detach").code == 0
    run = kfp.runs[0]
    looked = threading.Event()

    def seen(run):
        at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"}))(run)
        looked.set()

    kfp.script = [at("RUNNING"), seen]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "follow", run.run_id[:8], "--profile", str(profile)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "KUBECONFIG": str(tmp_path / "none")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert looked.wait(120)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"follow it again with `spineline follow {run.run_id[:8]} --profile {profile}`" in told
    assert "Traceback" not in told
    assert run.state == "RUNNING"
    assert not any("terminate" in asked for asked in kfp.asked)
