"""The last step of a prediction, from logits to the label map at full size, side by side with nnU-Net's own."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from spine.labels import IDS
from spine.phantom import make_scan
from spine.volume.export import label_map

CLASSES = 26
THREADS = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Case:
    """What is exported: logits on a grid of size ``old`` to a label map of size ``new``."""

    name: str
    noise: float
    old: tuple[int, int, int]
    new: tuple[int, int, int]
    is_smooth: bool = True
    separate_axis: int | None = None


CASES = (
    Case("smooth", 0.0, (242, 238, 237), (400, 512, 512)),
    Case("rough", 2.0, (242, 238, 237), (400, 512, 512)),
    Case("pure noise", 1.0, (242, 238, 237), (400, 512, 512), is_smooth=False),
    Case("rough, thick slices", 2.0, (80, 238, 237), (100, 512, 512), separate_axis=0),
)


def main() -> None:
    """Make the logits, measure each way in processes of its own, print times, peaks and agreement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="a quarter of every size: a check, not a measurement")
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours; the others run once (default: 3)")
    parser.add_argument("--cases", nargs="*", default=[case.name for case in CASES])
    parser.add_argument("--ways", nargs="*", default=list(WAYS), help=f"of {list(WAYS)}")
    parser.add_argument("--float32", action="store_true", help="logits as float32; nnU-Net's predictor gives float16")
    parser.add_argument("--folder", type=Path, help="keep logits and masks here (default: a temporary folder)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    cases = {case.name: _quarter(case) if given.small else case for case in CASES}
    with tempfile.TemporaryDirectory(prefix="export-") as temporary:
        folder = given.folder or Path(temporary)
        if given.measure:
            way, name = given.measure
            _measure(way, cases[name], folder)
            return
        folder.mkdir(parents=True, exist_ok=True)
        for name in given.cases:
            _make_logits(cases[name], folder / "logits.npy", np.dtype(np.float32 if given.float32 else np.float16))
            _compare(cases[name], folder, ways=given.ways, repeats=given.repeats, is_small=given.small)


def _quarter(case: Case) -> Case:
    old, new = (tuple(size // 4 for size in shape) for shape in (case.old, case.new))
    return Case(case.name, case.noise, old, new, case.is_smooth, case.separate_axis)


def _make_logits(case: Case, path: Path, dtype: np.dtype[Any]) -> None:
    """Write the logits of a phantom of 25 vertebrae: softened masks, 10 high, with noise on every class."""
    labels = make_scan(seed=7, patient=3, first=1, last=25, spacing_mm=(3.0, 3.0, 3.0)).labels.array.T
    places = [np.arange(new) * old // new for old, new in zip(labels.shape, case.old, strict=True)]
    labels, rng = labels[np.ix_(*places)], np.random.default_rng(0)
    logits = np.lib.format.open_memmap(path, "w+", dtype, (CLASSES, *case.old))
    for number in range(CLASSES):
        is_class = (labels == number).astype(np.float32)
        signal = 10 * gaussian_filter(is_class, 1.5) if case.is_smooth else 0
        logits[number] = signal + case.noise * rng.standard_normal(case.old, dtype=np.float32)
    logits.flush()


def _compare(case: Case, folder: Path, *, ways: list[str], repeats: int, is_small: bool) -> None:
    print(f"\n{case.name}: {CLASSES} classes, {case.old} to {case.new}, {THREADS} threads")
    print(f"  {'':24}{'s':>9}{'peak GB':>9}{'beyond logits':>15}")
    found = {}
    for way in ways:
        runs = [_run(way, case, folder, is_small) for _ in range(repeats if way == "ours" else 1)]
        measured = [run for run in runs if run]
        if not measured:
            print(f"  {way:24}   failed: its error is above, or it was killed for memory")
            continue
        seconds, peak, beyond = (statistics.median(run[name] for run in measured) for name in ("s", "peak", "beyond"))
        found[way] = seconds, peak
        print(f"  {way:24}{seconds:9.2f}{peak / 1e9:9.2f}{beyond / 1e9:15.2f}")
    for way in found.keys() - {"ours"} if "ours" in found else ():
        ours, theirs = found["ours"], found[way]
        differing = np.count_nonzero(np.load(_mask(folder, way)) != np.load(_mask(folder, "ours")))
        ratios = f"{theirs[0] / ours[0]:.1f} times the time of ours, {theirs[1] / ours[1]:.1f} times the peak"
        print(f"  {way}: {ratios}; {differing} of {np.prod(case.new)} voxels differ")


def _run(way: str, case: Case, folder: Path, is_small: bool) -> dict[str, float] | None:
    command = [sys.executable, __file__, "--folder", str(folder), "--measure", way, case.name]
    done = subprocess.run(command + ["--small"] * is_small, stdout=subprocess.PIPE, text=True)
    measured: dict[str, float] | None = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    return measured


def _measure(way: str, case: Case, folder: Path) -> None:
    """Export once, in this process; the compiled code is loaded before, the logits are in memory."""
    torch.set_num_threads(THREADS)
    export = WAYS[way]
    logits = np.load(folder / "logits.npy")
    corner = Case("corner", 0, (4, 30, 30), (8, 60, 70), separate_axis=case.separate_axis)
    export(logits[:, :4, :30, :30].copy(), corner)
    before = _memory("VmRSS")
    start = time.perf_counter()
    labels = export(logits, case)
    seconds = time.perf_counter() - start
    peak = _memory("VmHWM")
    np.save(_mask(folder, way), labels)
    print(json.dumps({"s": seconds, "peak": peak, "beyond": peak - before}))


def _mask(folder: Path, way: str) -> Path:
    return folder / f"{way.replace(', ', '-').replace(' ', '-')}.npy"


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def _ours(logits: np.ndarray, case: Case) -> np.ndarray:
    return label_map(logits, case.new, separate_axis=case.separate_axis, threads=THREADS)


def _class_by_class(logits: np.ndarray, case: Case) -> np.ndarray:
    """Run torch's interpolation one class after the other and keep the largest: what fits a small memory."""
    best, winner = torch.full(case.new, -torch.inf), torch.zeros(case.new, dtype=torch.uint8)
    for number in range(len(logits)):
        values = torch.from_numpy(logits[number : number + 1])[None].float()
        if case.separate_axis is None:
            values = torch.nn.functional.interpolate(values, case.new, mode="trilinear")
        else:
            planes = torch.nn.functional.interpolate(values[0], case.new[1:], mode="bilinear")
            values = torch.nn.functional.interpolate(planes[None], case.new, mode="nearest-exact")
        winner.masked_fill_(values[0, 0] > best, number)
        torch.maximum(best, values[0, 0], out=best)
    return winner.numpy()


def _nnunet_skimage(logits: np.ndarray, case: Case) -> np.ndarray:
    linear = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": case.separate_axis is not None}
    return _nnunet(logits, case, "resample_data_or_seg_to_shape", linear)


def _nnunet_torch(logits: np.ndarray, case: Case) -> np.ndarray:
    linear = {"is_seg": False, "force_separate_z": case.separate_axis is not None, "num_threads": THREADS}
    return _nnunet(logits, case, "resample_torch_fornnunet", linear)


def _nnunet(logits: np.ndarray, case: Case, function: str, arguments: dict[str, Any]) -> np.ndarray:
    from nnunetv2.inference import export_prediction
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    spacing = [5.0 if axis == case.separate_axis else 1.0 for axis in range(3)]
    configuration = {
        "architecture": {},
        "spacing": spacing,
        "resampling_fn_probabilities": function,
        "resampling_fn_probabilities_kwargs": arguments,
    }
    turn = {"transpose_forward": [0, 1, 2], "transpose_backward": [0, 1, 2]}
    plans = PlansManager({**turn, "configurations": {"full": configuration}})
    properties = {
        "spacing": spacing,
        "shape_before_cropping": case.new,
        "shape_after_cropping_and_before_resampling": case.new,
        "bbox_used_for_cropping": [[0, size] for size in case.new],
    }
    labels: np.ndarray = export_prediction.convert_predicted_logits_to_segmentation_with_correct_shape(
        torch.from_numpy(logits),
        plans,
        plans.get_configuration("full"),
        plans.get_label_manager({"labels": {"background": 0, **IDS}, "channel_names": {"0": "CT"}}),
        properties,
        num_threads_torch=THREADS,
    )
    return labels


WAYS = {
    "nnU-Net, skimage": _nnunet_skimage,
    "nnU-Net, torch": _nnunet_torch,
    "torch, class by class": _class_by_class,
    "ours": _ours,
}


if __name__ == "__main__":
    main()
