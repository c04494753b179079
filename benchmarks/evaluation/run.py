"""Scoring one large scan and a folder of such, beside nnU-Net's evaluation: seconds, memory, equality of the counts."""

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

LABELS = range(1, 26)
ROWS = ("stock", "overlap", "everything", "library")


def main() -> None:
    """Make the pair, let fresh processes score it in turn, compare what they found, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the scans here (default: a temporary folder)")
    parser.add_argument("--without-set", action="store_true", help="leave the folder of scans out")
    parser.add_argument("--child", choices=(*ROWS, "set"), help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure(given.folder, given.child, workers=given.workers)
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="evaluation-"))
    # In a process of its own: Linux counts the memory of a process towards those that it starts.
    subprocess.run([sys.executable, str(Path(__file__).with_name("pair.py")), str(folder)], check=True)
    one_scan(folder, repeats=given.repeats)
    if not given.without_set:
        whole_set(folder, repeats=given.repeats)


def measure(folder: Path, name: str, *, workers: int) -> None:
    """In a process of its own: score, print what it cost and what came out."""
    reference, prediction = (folder / kind / "scan_0.nii.gz" for kind in ("references", "predictions"))
    works = {
        "stock": lambda: by_stock(reference, prediction),
        "overlap": lambda: by_us(reference, prediction, surfaces=False),
        "everything": lambda: by_us(reference, prediction, surfaces=True),
        "library": lambda: by_library(reference, prediction),
        "set": lambda: by_folder(folder, workers=workers),
    }
    prepare(name)
    began, used = time.perf_counter(), time.process_time()
    found = works[name]()
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    cost = {"seconds": seconds, "processor": processor, "gigabytes": gigabytes}
    sys.stdout.write(json.dumps({**cost, "found": found}) + "\n")


def prepare(name: str) -> None:
    """Import what the work needs, so that no row pays for it."""
    if name == "stock":
        import nnunetv2.evaluation.evaluate_predictions
        import nnunetv2.imageio.simpleitk_reader_writer  # noqa: F401

        return
    import spine.metrics.folders  # noqa: F401

    if name in ("everything", "library"):
        import scipy.spatial  # noqa: F401
        import surface_distance  # noqa: F401


def by_stock(reference: Path, prediction: Path) -> dict[str, list[int]]:
    """Return TP, FP, FN and TN by label, from nnU-Net's evaluation of one case."""
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    metrics = compute_metrics(str(reference), str(prediction), SimpleITKIO(), list(LABELS))["metrics"]
    return {str(label): [int(metrics[label][key]) for key in ("TP", "FP", "FN", "TN")] for label in LABELS}


def by_us(reference: Path, prediction: Path, *, surfaces: bool) -> dict[str, list[float | None]]:
    """Return the same counts from our scores, or the surface distances by label."""
    from spine.metrics.scans import score_scan
    from spine.volume.nifti import read_labels

    labels = read_labels(reference), read_labels(prediction)
    scan = score_scan(case="scan", patient=None, reference=labels[0], prediction=labels[1], surfaces=surfaces)
    if surfaces:
        return {str(score.label): [score.nsd_1_5mm, score.nsd_3mm, score.hd95_mm] for score in scan.labels}
    counts = {}
    for score in scan.labels:
        common, voxels = score.common_voxels, labels[0].array.size
        false, missed = score.predicted_voxels - common, score.reference_voxels - common
        counts[str(score.label)] = [common, false, missed, voxels - common - false - missed]
    return counts


def by_library(reference: Path, prediction: Path) -> dict[str, list[float]]:
    """Return the surface distances of the library alone, each label cropped to the box of both masks."""
    import surface_distance
    from scipy.ndimage import find_objects

    from spine.metrics.surfaces import ROUNDING_MM
    from spine.volume.nifti import read_labels

    volumes = [read_labels(path) for path in (reference, prediction)]
    found = {}
    boxes = (find_objects(volume.array, max_label=max(LABELS)) for volume in volumes)
    for label, (one, other) in enumerate(zip(*boxes, strict=True), start=1):
        if one is None or other is None:
            continue
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
        masks = [volume.array[box] == label for volume in volumes]
        distances = surface_distance.compute_surface_distances(*masks, volumes[0].grid.spacing_mm)
        nsd = [
            float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm + ROUNDING_MM))
            for tolerance_mm in (1.5, 3.0)
        ]
        found[str(label)] = [*nsd, float(surface_distance.compute_robust_hausdorff(distances, 95))]
    return found


def by_folder(folder: Path, *, workers: int) -> int:
    """Evaluate the whole folder, return how many scans that were."""
    from spine.metrics.folders import evaluate_folders

    evaluation = evaluate_folders(
        references=folder / "references", predictions=folder / "predictions", name="benchmark", workers=workers
    )
    return len(evaluation.scans)


def one_scan(folder: Path, *, repeats: int) -> None:
    """Print every way's medians, the ratios to stock, and whether results agree."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in ROWS}
    for _ in range(repeats):
        for name, measured in runs.items():
            measured.append(run_child(folder, name))
    print(f"one scan, {len(LABELS)} labels; median of {repeats}")
    medians = {name: told(name, measured) for name, measured in runs.items()}
    for name in ("overlap", "everything"):
        ratios = {key: medians["stock"][key] / value for key, value in medians[name].items()}
        print(
            f"  {name}: {ratios['seconds']:.1f} times faster than stock, {ratios['processor']:.1f} in processor time,"
            f" 1/{ratios['gigabytes']:.1f} of its memory"
        )
    results = {name: measured[0]["found"] for name, measured in runs.items()}
    print(f"  TP, FP, FN and TN of all labels equal: {results['stock'] == results['overlap']}")
    both = [(ours, results["library"][label]) for label, ours in results["everything"].items() if ours[2] is not None]
    largest = max(abs(a - b) for pair in both for a, b in zip(*pair, strict=True))
    print(f"  {len(both)} labels in both maps: largest difference to the library in NSD or HD95 {largest:.2g}")


def whole_set(folder: Path, *, repeats: int) -> None:
    """Print what a folder of scans takes with one worker and with two."""
    medians = {}
    for workers in (1, 2):
        runs = [run_child(folder, "set", "--workers", str(workers)) for _ in range(repeats)]
        if workers == 1:
            print(f"folder of {runs[0]['found']} such scans, surfaces included; median of {repeats}")
        medians[workers] = told(f"workers: {workers}", runs)
    print(f"  two workers: {medians[1]['seconds'] / medians[2]['seconds']:.2f} times faster than one")


def run_child(folder: Path, name: str, *more: str) -> dict[str, Any]:
    """Score in a fresh process with one thread for numpy's linear algebra; return what it printed.

    For a folder, memory is the largest sum over the processes that work on it, and processor time theirs.
    """
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder), *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as child:
        processor, gigabytes = watched(child.pid) if name == "set" else (0.0, 0.0)
        output = child.stdout.read() if child.stdout else ""
    if child.returncode:
        sys.exit(f"{name} ended with status {child.returncode}")
    measured = dict(json.loads(output.splitlines()[-1]))
    return {**measured, "processor": processor, "gigabytes": gigabytes} if name == "set" else measured


def watched(pid: int) -> tuple[float, float]:
    """Return the processor seconds of a process and all below it, and the peak of their resident sizes in GB."""
    seconds: dict[int, float] = {}
    peak = 0
    root = psutil.Process(pid)
    while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
        resident = 0
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                seconds[process.pid] = times.user + times.system
                resident += process.memory_info().rss
        peak = max(peak, resident)
        time.sleep(0.02)
    return sum(seconds.values()), peak / 1e9


def told(name: str, runs: list[dict[str, Any]]) -> dict[str, float]:
    """Print and return the medians of a row."""
    row = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "processor", "gigabytes")}
    print(f"  {name:12} {row['seconds']:7.2f} s  {row['processor']:7.2f} s of processor  {row['gigabytes']:.2f} GB")
    return row


if __name__ == "__main__":
    main()
