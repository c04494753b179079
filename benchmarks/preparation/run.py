"""Reading, checking and preparing scans of 256 × 256 × 300, side by side with nibabel and nnU-Net's own check."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import nibabel
import numpy as np

from components.prepare_dataset.checks import levels
from components.prepare_dataset.checks.anatomy import measure
from components.prepare_dataset.checks.image import mask_on_bone
from spine.labels import IDS
from spine.phantom import make_scan
from spine.storage import write_json
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, read_image, read_labels, read_volume, to_canonical, write_volume

SHAPE = (256, 256, 300)


def main() -> None:
    """Make the scans, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the generated scans here (default: a temporary folder)")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="preparation-"))
    raw = folder / f"Dataset001_{given.scans}"
    make_set(raw, scans=given.scans)
    one_file(raw, repeats=max(given.repeats, 5))
    whole_set(raw, folder / "work", repeats=given.repeats)


def make_set(raw: Path, *, scans: int) -> None:
    """Write ``scans`` phantoms of as many patients in nnU-Net's raw layout, unless they are there."""
    if (raw / "dataset.json").is_file():
        return
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_make_one, raw), range(scans)))
    labels = {"background": 0, **IDS}
    described = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": scans, "file_ending": ".nii.gz"}
    write_json(raw / "dataset.json", described)


def _make_one(raw: Path, number: int) -> None:
    # Drawn at twice the spacing, every voxel then doubled along each axis: the anatomy takes eight times less time.
    scan = make_scan(seed=7, patient=number, first=3, last=25, spacing_mm=(1.2, 1.2, 3.0))
    grid = Grid.of(SHAPE, scan.image.grid.matrix @ np.diag([0.5, 0.5, 0.5, 1.0]))
    noise = np.random.default_rng(number).normal(0, 10, SHAPE)
    image = np.clip(_fitted(scan.image.array, -1000) + noise, -1024, 3071).astype(np.int16)
    write_volume(raw / "imagesTr" / f"scan_{number:03d}_0000.nii.gz", Volume(array=image, grid=grid))
    labels = _fitted(scan.labels.array, 0)
    write_volume(raw / "labelsTr" / f"scan_{number:03d}.nii.gz", Volume(array=labels, grid=grid))


def _fitted(array: np.ndarray, outside: int) -> np.ndarray:
    array = array.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    fitted = np.full(SHAPE, outside, dtype=array.dtype)
    common = tuple(slice(0, min(a, b)) for a, b in zip(array.shape, SHAPE, strict=True))
    fitted[common] = array[common]
    return fitted


def one_file(raw: Path, *, repeats: int) -> None:
    """Compare reading with nibabel's, and the label checks with reading."""
    image, labels = raw / "imagesTr" / "scan_000_0000.nii.gz", raw / "labelsTr" / "scan_000.nii.gz"
    hu, mask = to_canonical(read_volume(image)), to_canonical(read_labels(labels))
    measures = {
        "image, nibabel": lambda: np.asanyarray(nibabel.load(image).dataobj),
        "image, ours": lambda: read_volume(image),
        "mask, nibabel": lambda: np.asanyarray(nibabel.load(labels).dataobj),
        "mask, ours": lambda: read_labels(labels),
        "case, ours": lambda: (read_image(image), read_labels(labels)),
        "label checks": lambda: _checked(hu, mask),
    }
    seconds = {name: _median(work, repeats) for name, work in measures.items()}
    print(
        f"\none case, {image.stat().st_size / 1e6:.1f} MB and {labels.stat().st_size / 1e6:.2f} MB; median of {repeats}"
    )
    for name, value in seconds.items():
        print(f"  {name:16} {value * 1000:8.1f} ms")
    print(f"  reading the image: {seconds['image, nibabel'] / seconds['image, ours']:.1f} times faster than nibabel")
    for name in ("mask, nibabel", "mask, ours", "case, ours"):
        print(f"  label checks: {seconds['label checks'] / seconds[name]:.2f} of reading the {name}")


def _checked(hu: Volume, mask: Volume) -> None:
    anatomy = measure(mask)
    list(levels.remarks(anatomy))
    list(mask_on_bone(hu, anatomy))


def whole_set(raw: Path, work: Path, *, repeats: int) -> None:
    """Prepare the whole set in a process of its own; again after one new case; and let nnU-Net verify the same set."""
    rows: dict[str, list[tuple[float, float, float]]] = {"nnU-Net verify": [], "prepare": [], "after one new case": []}
    workers = len(os.sched_getaffinity(0))
    for _ in range(repeats):
        shutil.rmtree(work, ignore_errors=True)
        verify = "from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity as v"
        rows["nnU-Net verify"].append(_watched([sys.executable, "-c", f"{verify}\nv({str(raw)!r}, {workers})"]))
        held_back = _hold_back(raw, work)
        command = [sys.executable, "-m", "components.prepare_dataset", "--raw", str(raw), "--output", str(work / "out")]
        try:
            rows["prepare"].append(_watched(command))
        finally:
            for path, kept in held_back.items():
                shutil.move(kept, path)
        rows["after one new case"].append(_watched(command))
    scans = len(list((raw / "imagesTr").iterdir()))
    print(f"\n{scans} scans of {SHAPE}, {workers} cores; median of {repeats}")
    for name, runs in rows.items():
        wall, cores, peak = (statistics.median(run[index] for run in runs) for index in range(3))
        print(f"  {name:20} {wall:8.1f} s   {cores:.2f} cores busy   {peak:.2f} GB in the largest process")
    verified, prepared = (statistics.median(run[0] for run in rows[name]) for name in ("nnU-Net verify", "prepare"))
    print(f"  preparing takes {prepared / verified:.1f} times as long as nnU-Net's check, which writes nothing")


def _hold_back(raw: Path, work: Path) -> dict[Path, Path]:
    """Take the last case out of the raw set for a while."""
    last = max(path.name for path in (raw / "labelsTr").iterdir())
    paths = [raw / "labelsTr" / last, raw / "imagesTr" / last.replace(".nii.gz", "_0000.nii.gz")]
    (work / "held").mkdir(parents=True)
    held = {path: work / "held" / path.name for path in paths}
    for path, kept in held.items():
        shutil.move(path, kept)
    return held


def _watched(command: list[str]) -> tuple[float, float, float]:
    """Run a command; return its wall seconds, the cores that it kept busy, and GB in its largest process."""
    began = time.monotonic()
    sizes_kb: dict[int, int] = {}
    ticks: dict[int, int] = {}
    done = threading.Event()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        threading.Thread(target=_sample, args=(process.pid, sizes_kb, ticks, done), daemon=True).start()
        status = process.wait()
    wall = time.monotonic() - began
    done.set()
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    busy = sum(ticks.values()) / os.sysconf("SC_CLK_TCK")
    return wall, busy / wall, max(sizes_kb.values()) / 1e6


def _sample(root: int, sizes_kb: dict[int, int], ticks: dict[int, int], done: threading.Event) -> None:
    """Keep the largest resident size and the processor time of every process below ``root``."""
    while not done.wait(0.1):
        parents = {}
        for process in Path("/proc").glob("[0-9]*"):
            try:
                fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
                size = (process / "status").read_text().partition("VmHWM:")[2].split()
            except OSError:
                continue
            parents[int(process.name)] = int(fields[1]), int(fields[11]) + int(fields[12]), int(size[0]) if size else 0
        for pid, (_, used, size_kb) in parents.items():
            ancestor = pid
            while ancestor and ancestor != root:
                ancestor = parents[ancestor][0] if ancestor in parents else 0
            if ancestor == root:
                ticks[pid], sizes_kb[pid] = used, max(sizes_kb.get(pid, 0), size_kb)


def _median(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
