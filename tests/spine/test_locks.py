"""One process at a time works in a folder; others wait, say so, and can be stopped meanwhile."""

import subprocess
import sys
import threading
import time

import pytest

from spine.locks import InUseError, WaitInterruptedError, held
from spine.logs import INTERRUPTED

HOLDER = """
import sys, time
from pathlib import Path
from spine.locks import held
with held(Path(sys.argv[1]), wait_s=1, on_wait=print):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_folder_that_another_has_is_waited_for_and_then_given_up(tmp_path, holder):
    told = []
    with pytest.raises(InUseError, match=f"in use by process {holder.pid} on .*; expected to have it within 0.3 s"):
        held(tmp_path, wait_s=0.3, on_wait=told.append).__enter__()
    assert told == [f"{tmp_path.name} is in use by process {holder.pid} on {_node()}; waiting"]


def test_a_holder_that_was_killed_leaves_the_folder_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    with held(tmp_path, wait_s=5, on_wait=pytest.fail):
        pass


def test_who_waits_can_be_stopped(tmp_path, holder):
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(WaitInterruptedError) as refused:
        held(tmp_path, wait_s=60, on_wait=lambda _: None, stop=stop).__enter__()
    assert time.monotonic() - began < 10
    assert refused.value.exit_code == INTERRUPTED


def _node():
    import os

    return os.uname().nodename
