"""Preprocessing of one large case, side by side with nnU-Net's own: seconds, memory, and equality of the results."""

import argparse
import json
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (512, 512, 400)
SPACING_MM = (0.8, 0.8, 1.25)
TARGET_MM = 1.5
CASES_OF_A_SET = 100
NOISE_HU = 20
_WHO = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
INTENSITIES = {"mean": 250.0, "std": 210.0, "percentile_00_5": -900.0, "percentile_99_5": 1100.0}


def main() -> None:
    """Make the case, let fresh processes preprocess it in turn, compare what they wrote, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch and numpy, for both")
    parser.add_argument("--folder", type=Path, help="keep the case here (default: a temporary folder)")
    parser.add_argument("--child", choices=("stock", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("--with-fingerprint", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        preprocess(given.folder, given.child, threads=given.threads, with_fingerprint=given.with_fingerprint)
        return
    folder = given.folder or Path(tempfile.mkdtemp(prefix="preprocessing-"))
    make_case(folder)
    cache = tempfile.mkdtemp(dir=folder, prefix="compiled-")
    first = run_child(folder, "ours", threads=given.threads, cache=cache)
    for more in ([], ["--with-fingerprint"]):
        runs: dict[str, list[dict[str, float]]] = {"stock": [], "ours": []}
        for _ in range(given.repeats):
            for name, measured in runs.items():
                measured.append(run_child(folder, name, *more, threads=given.threads, cache=cache))
        tell(runs, first, what="fingerprint and preprocessing of one case" if more else "one case")
        compare(folder)
    reading(folder, repeats=given.repeats)


def make_case(folder: Path) -> None:
    """Write a phantom with 18 vertebrae, drawn at half the resolution and doubled, with white noise added.

    What lies beyond the phantom is its border drawn out, not air, so that the noise is everywhere: it is what
    compression and denormals depend on.
    """
    from spine.phantom import make_scan
    from spine.volume.grid import Grid
    from spine.volume.nifti import Volume, write_volume

    if (folder / "scan_0000.nii.gz").is_file():
        return
    scan = make_scan(seed=7, patient=1, first=8, last=25, spacing_mm=tuple(2 * edge for edge in SPACING_MM))
    grid = Grid.of(SHAPE, np.diag([*SPACING_MM, 1.0]))
    noise = np.random.default_rng(1).normal(0, NOISE_HU, SHAPE).astype(np.float32)
    image = np.round(fitted(scan.image.array, mode="edge") + noise).clip(-1024, 3071).astype(np.int16)
    write_volume(folder / "scan_0000.nii.gz", Volume(array=image, grid=grid))
    write_volume(folder / "scan.nii.gz", Volume(array=fitted(scan.labels.array, mode="constant"), grid=grid))


def fitted(array: np.ndarray, *, mode: str) -> np.ndarray:
    """Double an array along each axis; pad it to the benchmark's shape, or cut it."""
    for axis in range(3):
        array = array.repeat(2, axis=axis)
    lacking = [size - edge for size, edge in zip(SHAPE, array.shape, strict=True)]
    margins = [(less // 2, less - less // 2) for less in lacking]
    cut = tuple(slice(max(-low, 0), min(high, 0) or None) for low, high in margins)
    padding: Any = [(max(low, 0), max(high, 0)) for low, high in margins]
    return np.pad(array[cut], padding, mode=mode)


def plans() -> Any:
    """nnU-Net's usual plans for CT at 1.5 mm."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    resampling = {"order_z": 0, "force_separate_z": None}
    configuration = {
        "data_identifier": "cases",
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": [128, 128, 128],
        "spacing": [TARGET_MM] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "architecture": {},
    }
    return PlansManager(
        {
            "plans_name": "nnUNetPlans",
            "image_reader_writer": "SimpleITKIO",
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": {"0": INTENSITIES},
            "configurations": {"3d_fullres": configuration},
        }
    )


def preprocess(folder: Path, name: str, *, threads: int, with_fingerprint: bool) -> None:
    """In a process of its own: preprocess the case, after its fingerprint where that is asked for; print the cost."""
    import torch

    from spine.labels import IDS
    from spine.nnunet.decoded import scratch_in

    torch.set_num_threads(threads)
    if name == "stock":
        from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor as Chosen
    else:
        from spine.nnunet.preprocessing import Preprocessor as Chosen
    given = plans()
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **IDS}, "file_ending": ".nii.gz"}
    raw = raw_set(folder, dataset)
    with scratch_in(folder) as scratch:
        began, used = time.perf_counter(), processor_seconds()
        if with_fingerprint:
            take_fingerprint(name, raw, scratch)
        Chosen(verbose=False, **({"read": scratch.read} if name == "ours" else {})).run_case_save(
            str(folder / name),
            [str(raw / "imagesTr" / "scan_0000.nii.gz")],
            str(raw / "labelsTr" / "scan.nii.gz"),
            given,
            given.get_configuration("3d_fullres"),
            dataset,
        )
    measured = {"seconds": time.perf_counter() - began, "processor": processor_seconds() - used}
    peak = max(resource.getrusage(who).ru_maxrss for who in _WHO) / 1e6
    sys.stdout.write(json.dumps({**measured, "gigabytes": peak}) + "\n")


def raw_set(folder: Path, dataset: dict[str, Any]) -> Path:
    """Lay the case out as a raw data set of its own, where nnU-Net finds it."""
    from spine.nnunet.workspace import DATASET_NAME, Workspace

    workspace = Workspace.below(folder)
    workspace.activate()
    raw = workspace.raw / DATASET_NAME
    for place, file in (("imagesTr", "scan_0000.nii.gz"), ("labelsTr", "scan.nii.gz")):
        (raw / place).mkdir(parents=True, exist_ok=True)
        (raw / place / file).unlink(missing_ok=True)
        (raw / place / file).hardlink_to(folder / file)
    (raw / "dataset.json").write_text(json.dumps({**dataset, "numTraining": 1}))
    return raw


def take_fingerprint(name: str, raw: Path, scratch: Any) -> None:
    """Take the fingerprint with nnU-Net's extractor or ours, in one process of their own."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    from spine.nnunet import fingerprint

    # Of a set of one case a hundred million voxels are drawn, which would take longer than all else.
    samples = 1e8 / CASES_OF_A_SET
    if name == "stock":
        extractor = DatasetFingerprintExtractor(raw.name, num_processes=1)
        extractor.num_foreground_voxels_for_intensitystats = samples
        extractor.run(overwrite_existing=True)
        return
    fingerprint._FOREGROUND_SAMPLES = samples
    target = scratch.folder.parent / "ours_fingerprint.json"
    fingerprint.take_fingerprint(dataset=raw, target=target, scratch=scratch, threads=1, on_case=lambda *_: None)


def processor_seconds() -> float:
    """Return what this process and the ended ones that it started took."""
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, _WHO))


def run_child(folder: Path, name: str, *more: str, threads: int, cache: str) -> dict[str, float]:
    """Preprocess in a fresh process; return seconds, processor seconds and the peak of its resident size in GB."""
    for path in (f"{name}.b2nd", f"{name}_seg.b2nd", f"{name}.pkl"):
        (folder / path).unlink(missing_ok=True)
    command = [sys.executable, __file__, "--child", name, "--folder", str(folder), "--threads", str(threads), *more]
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def tell(runs: dict[str, list[dict[str, float]]], first: dict[str, float], *, what: str) -> None:
    """Print the medians and their ratios."""
    medians = {
        name: {key: statistics.median(run[key] for run in measured) for key in measured[0]}
        for name, measured in runs.items()
    }
    print(f"{what} of {SHAPE} at {SPACING_MM} mm to {TARGET_MM} mm; median of {len(runs['stock'])}")
    for name, row in {**medians, "ours, first run, compiles": first}.items():
        told = (row["seconds"], row["processor"], row["gigabytes"])
        print(f"  {name:26} {told[0]:7.1f} s  {told[1]:7.1f} s of processor  {told[2]:.2f} GB")
    ratios = {key: medians["stock"][key] / medians["ours"][key] for key in medians["stock"]}
    print(f"  ratio {ratios['seconds']:.1f} in seconds, {ratios['processor']:.1f} in processor time")
    print(f"  ratio {ratios['gigabytes']:.1f} in memory")


def compare(folder: Path) -> None:
    """Print how far the two results differ, and what compression left."""
    import blosc2

    for kind in ("", "_seg"):
        stock, ours = (blosc2.open(str(folder / f"{name}{kind}.b2nd")) for name in ("stock", "ours"))
        same = (stock.chunks, stock.blocks, stock.dtype) == (ours.chunks, ours.blocks, ours.dtype)
        largest = np.abs(stock[:].astype(np.float64) - ours[:]).max()
        # Not the schunk's own ratio, which counts the padding of chunks as content.
        left = ours.schunk.cbytes / (ours.size * ours.dtype.itemsize)
        print(
            f"  {kind or 'image':6} largest difference {largest:.2g}; chunks and blocks equal: {same}; left {left:.3f}"
        )
    stock, ours = (pickle.loads((folder / f"{name}.pkl").read_bytes()) for name in ("stock", "ours"))
    drawn, drawn_here = stock.pop("class_locations"), ours.pop("class_locations")
    locations = all(np.array_equal(places, drawn_here[label]) for label, places in drawn.items())
    print(f"  class_locations equal: {locations}; other properties equal: {stock == ours}")


def reading(folder: Path, *, repeats: int) -> None:
    """Print what decoding a case takes, and what keeping it decoded and reading it again does."""
    from spine.nnunet.cases import read_case
    from spine.nnunet.decoded import scratch_in

    image, labels = folder / "scan_0000.nii.gz", folder / "scan.nii.gz"
    case = read_case(image, labels)
    size = case.image.nbytes + case.labels.nbytes
    with scratch_in(folder) as scratch:
        granted = scratch.grant({image: size})
        works: dict[str, Callable[[], object]] = {
            "decoding": lambda: read_case(image, labels),
            "keeping": lambda: granted.keep(image, case),
            "reading what was kept": lambda: granted.read(image, labels),
        }
        for name, work in works.items():
            seconds, processor = (median(work, repeats, clock) for clock in (time.perf_counter, time.process_time))
            print(f"  {name} {seconds:.2f} s, {processor:.2f} s of processor")
    print(f"  scratch {size / 1e6:.0f} MB a case")


def median(work: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    """Return the median of a work's seconds by ``clock``."""
    seconds = []
    for _ in range(repeats):
        began = clock()
        work()
        seconds.append(clock() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
