"""What a GPU does with a recipe: training steps a second, and scans beside nnU-Net's own predictor, both warm."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from inference import AT_ONCE, Inference, phantom
from model import THREADS, card, plans, workspace
from training import train

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.phantom.raw_set import write_raw_set
from spine.recipe import load_recipe
from spine.settings import child_environment


def main() -> None:
    """Run the parts one after the other, each in a process of its own, and print what they measured."""
    given = _arguments()
    if given.part:
        print(json.dumps(PARTS[given.part](given)))
        return
    with tempfile.TemporaryDirectory(prefix="gpu-") as temporary:
        given.folder = given.folder or Path(temporary)
        for part in given.parts:
            _run(*part.split(":"), given=given)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="spine", help="recipe whose plan and network are used (%(default)s)")
    parser.add_argument("--shapes", nargs="*", default=["512x512x300"], help="of the scans (%(default)s)")
    parser.add_argument("--spacing-mm", type=float, default=0.8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--workers", type=int, default=12, help="that make batches")
    parser.add_argument("--folder", type=Path, help="keep data set, plans and weights here (default: temporary)")
    parser.add_argument("--limit-s", type=float, default=600, help="for all parts; one that would pass it is ended")
    parts = ["prepare:spine", "train:spine", "infer:spine", "whole:spine", "prepare:reference", "train:reference"]
    parser.add_argument(
        "--parts", nargs="*", default=[*parts, "compiled:reference"], help="part:recipe, of %(default)s"
    )
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.began = time.monotonic()
    return given


def _run(part: str, recipe: str, *, given: argparse.Namespace) -> None:
    """Run a part in its own process; print a line for each thing that it measured, or the end of what it said."""
    left = given.limit_s - (time.monotonic() - given.began)
    command = [sys.executable, __file__, "--part", part, "--recipe", recipe, "--folder", str(given.folder)]
    names = ("spacing_mm", "repeats", "epochs", "iterations", "workers")
    command += [word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(given, name)))]
    command += ["--shapes", *given.shapes]
    began = time.monotonic()
    try:
        done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=max(left, 1))
        told = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-1500:]}
    except subprocess.TimeoutExpired as error:
        whole_lines = (error.stdout or b"{}").decode().rpartition("\n")[0].splitlines()
        told = {**(json.loads(whole_lines[-1]) if whole_lines else {}), "ended": "at the limit"}
    heading = f"{part} {recipe} ({time.monotonic() - began:.0f} s)"
    print("\n".join([heading, *(f"  {name:34} {_shown(value)}" for name, value in told.items())]), flush=True)


def _shown(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(f"{name} {round(one, 4) if isinstance(one, float) else one}" for name, one in value.items())


def prepare(given: argparse.Namespace) -> dict[str, Any]:
    """Make a small phantom set, plan the recipe for it and preprocess it."""
    if not (given.folder / "data").is_dir():
        write_raw_set(given.folder / "raw", scans=8, seed=3)
        prepare_dataset(raw=given.folder / "raw", output=given.folder / "data", choices=Choices(seed=1, test_share=0.3))
    workspace(given).activate()
    from spine.nnunet.planning import plan_and_preprocess

    plan_and_preprocess(
        dataset=given.folder / "data",
        workspace=workspace(given),
        recipe=load_recipe(given.recipe).plan,
        on_case=lambda *_: None,
        threads=min(THREADS, 8),
    )
    configuration = plans(given)["configurations"]["3d_fullres"]
    return {"patch": configuration["patch_size"], "network": configuration["architecture"]["network_class_name"]}


def infer(given: argparse.Namespace) -> dict[str, Any]:
    """Predict each scan by ours, and the network's part of it by stock nnU-Net, which resamples for minutes."""
    rows: dict[str, Any] = {"card": card()}
    bench = Inference(given)
    for shape in given.shapes:
        image = phantom(shape, given.spacing_mm)
        measured = {
            **{f"ours, batch {batch}": partial(bench.ours, image, batch=batch) for batch in (4, 1)},
            "stock, network only": partial(bench.stock_network, image),
            "logits": partial(bench.agreement, image),
        }
        for name, measure in measured.items():
            rows[f"{shape} {name}"] = measure()
            print(json.dumps(rows), flush=True)  # what there is when time runs out
    return rows


def whole(given: argparse.Namespace) -> dict[str, Any]:
    """Predict a scan of an eighth of the voxels by both, from its voxels to its mask, and several at once by ours."""
    shape = "x".join(str(int(size) // 2) for size in given.shapes[0].split("x"))
    image, bench = phantom(shape, 2 * given.spacing_mm), Inference(given)
    rows: dict[str, Any] = {"card": card(), f"{shape} ours": bench.ours(image, batch=4)}
    rows[f"{shape} ours, {AT_ONCE} scans"] = bench.at_once(image)
    print(json.dumps(rows), flush=True)
    rows[f"{shape} stock"] = bench.stock_whole(image)
    return rows


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "prepare": prepare,
    "train": train,
    "compiled": partial(train, compile_network=True),
    "infer": infer,
    "whole": whole,
}


if __name__ == "__main__":
    main()
