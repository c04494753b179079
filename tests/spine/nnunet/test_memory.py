"""The estimate of a scan's memory, held against what a process took."""

import json
import subprocess
import sys

import numpy as np
import pytest

from spine.volume.grid import Grid

MEASURE = """
import ctypes, json, sys
from pathlib import Path
import numpy as np
from spine.nnunet.workspace import Workspace

Workspace.below(Path(sys.argv[1])).activate()
import torch
from model_registry.bundle import Bundle
from model_registry.models import load_segmenter
from spine.phantom import make_scan
from spine.volume.nifti import Volume


def resident(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) << 10


segmenter = load_segmenter(Bundle(Path(sys.argv[1])), device=torch.device("cpu"), threads=1)
segmenter.decode(make_scan(seed=1, patient=0, spacing_mm=(8.0, 8.0, 8.0)).image)
figures = []
# Random weights call most voxels bone, which takes the most memory; the second is more bone than a spine has.
for spacing, last in ((0.8, 21), (0.6, 25)):
    scan = make_scan(seed=5, patient=1, first=20, last=last, spacing_mm=(spacing,) * 3)
    image = Volume(array=np.asarray(scan.image.array, dtype=np.float32), grid=scan.image.grid)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = resident("VmRSS")
    segmenter.decode(image)
    figures.append((segmenter.memory_bytes(image.grid), resident("VmHWM") - before))
print(json.dumps(figures))
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the peak of memory")
def test_the_estimate_is_enough_and_within_three_times_what_a_map_full_of_bone_takes(bundles):
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(bundles[1])], capture_output=True, text=True, timeout=600, check=False
    )
    assert ran.returncode == 0, ran.stderr
    figures = json.loads(ran.stdout.splitlines()[-1])
    (estimated, taken), (estimated_of_no_spine, taken_by_no_spine) = figures
    assert taken <= estimated <= 3 * taken, figures
    assert taken_by_no_spine <= estimated_of_no_spine, figures


@pytest.fixture
def segmenter(bundles):
    import torch

    from model_registry.bundle import Bundle
    from model_registry.models import load_segmenter

    return load_segmenter(Bundle(bundles[1]), device=torch.device("cpu"), threads=1)


def test_a_scan_in_another_orientation_is_estimated_the_same(segmenter):
    upright = np.array([[2, 0, 0, 0], [0, 3, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    turned = upright[:, [2, 0, 1, 3]]
    first, second = Grid.of((100, 80, 300), upright), Grid.of((300, 100, 80), turned)
    assert segmenter.memory_bytes(first) == segmenter.memory_bytes(second)


def test_a_coarser_scan_of_the_same_patient_needs_less(segmenter):
    fine, coarse = (Grid.of((size,) * 3, np.diag([600 / size] * 3 + [1])) for size in (600, 300))
    assert segmenter.memory_bytes(coarse) < segmenter.memory_bytes(fine)
