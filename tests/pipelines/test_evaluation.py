"""Evaluating two folders of large masks: nothing is left of it where it is interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest


@pytest.mark.slow
def test_an_interrupt_leaves_no_process_and_no_file(tmp_path):
    wide = np.zeros((160, 160, 160), dtype=np.uint8)
    wide[40:90, 40:90, 20:70] = 20
    for number in range(40):
        image = nibabel.Nifti1Image(wide, np.eye(4))
        nibabel.save(image, tmp_path / f"case_{number}.nii")
    output = tmp_path / "out" / "new.json"
    given = ("--references", tmp_path, "--predictions", tmp_path, "--output", output, "--workers", "3")
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "evaluate", *map(str, given)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stderr.readline().startswith("evaluate: score 1/40")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "") and "Traceback" not in err
    assert not output.parent.exists()
    deadline = time.monotonic() + 10
    while is_group_alive(process.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_group_alive(process.pid)


def is_group_alive(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
