"""What a request takes besides its network: nnU-Net's command, its predictor kept warm, and our server, in one run."""

import argparse
import contextlib
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
from timed import network_seconds, watch_network

from model_registry.bundle import MODEL_FOLDER, Bundle
from model_registry.lifecycle import Registry
from spine.nnunet.workspace import DATASET_NAME, PLANS_NAME, Workspace
from spine.phantom import make_scan
from spine.settings import child_environment
from spine.volume.nifti import write_volume

HERE = Path(__file__).resolve().parent
START_S = 120
COMMAND, WARM, SERVED = "nnUNetv2_predict", "predict_from_files, warm", "Spineline, over HTTP"
AT_ONCE = 4


@dataclass(frozen=True)
class Taken:
    """Seconds of one prediction: in all, and in the network."""

    total_s: float
    network_s: float

    @property
    def overhead_s(self) -> float:
        """What everything but the network took."""
        return self.total_s - self.network_s


@dataclass(frozen=True)
class Bench:
    """One folder with a model, a scan and a log of the network's seconds."""

    folder: Path
    root: Path

    @property
    def scan(self) -> Path:
        """The scan that all are sent, alone in a folder named as nnU-Net wants it."""
        return self.folder / "in" / "scan_0000.nii.gz"

    @property
    def log(self) -> Path:
        """Where every process notes the seconds of its network."""
        return self.folder / "network.log"

    def bundle(self) -> Bundle:
        """Return the version in use."""
        registry = Registry(self.root)
        return registry.bundle(registry.state().serving or 0)

    def timed(self, work: Callable[[], object]) -> Taken:
        """Run one prediction by the clock."""
        before, began = network_seconds(self.log), time.perf_counter()
        work()
        total = time.perf_counter() - began
        return Taken(total_s=total, network_s=network_seconds(self.log) - before)


def main() -> None:
    """Measure all three in turns, then requests at once, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--root", type=Path, default=Path(".spineline"), help="root whose version in use is measured: %(default)s"
    )
    parser.add_argument("--spacing-mm", type=float, default=2.0, help="of the phantom scan (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serving-") as temporary:
        bench = Bench(folder=Path(temporary), root=_copied(given.root, Path(temporary) / "root"))
        Workspace.below(bench.folder).activate()
        image = make_scan(seed=5, patient=1, spacing_mm=(given.spacing_mm,) * 3).image
        bench.scan.parent.mkdir()
        write_volume(bench.scan, image)
        _lay_out_for_nnunet(bench)
        print(f"scan {image.array.shape} at {given.spacing_mm} mm, {len(os.sched_getaffinity(0))} cores, medians")
        with _served(bench) as client:
            _compare(bench, client, repeats=given.repeats)
            _at_once(bench, client, repeats=given.repeats)


def _copied(root: Path, target: Path) -> Path:
    """Copy the ledger and the version in use, so that a server that runs below ``root`` is left alone."""
    state = Registry(root).state()
    bundle = state.version(state.serving or 0).bundle
    shutil.copytree(root / "ledger", target / "ledger")
    shutil.copytree(root / bundle, target / bundle)
    return target


def _compare(bench: Bench, client: httpx.Client, *, repeats: int) -> None:
    predict_warm = _warm_predictor(bench)
    ways = {COMMAND: lambda: _command(bench), WARM: predict_warm, SERVED: lambda: _segment(bench, client)}
    taken: dict[str, list[Taken]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, work in ways.items():
            if name in (WARM, SERVED):  # what the other ways have pushed out of memory comes back
                work()
            taken[name].append(bench.timed(work))
    ours = statistics.median(one.overhead_s for one in taken[SERVED])
    for name, seen in taken.items():
        total, network, overhead = (
            statistics.median(getattr(one, what) for one in seen) for what in ("total_s", "network_s", "overhead_s")
        )
        shown = f"{total:8.2f} s in all {network:8.2f} s network {overhead:8.3f} s besides"
        print(f"  {name:26} {shown} {overhead / ours:8.1f} times ours")


def _at_once(bench: Bench, client: httpx.Client, *, repeats: int) -> None:
    rows: dict[str, list[float]] = {"one after the other": [], "at once": []}
    for _ in range(repeats):
        for name, seen in rows.items():
            began = time.perf_counter()
            with ThreadPoolExecutor(AT_ONCE if name == "at once" else 1) as pool:
                list(pool.map(lambda _: _segment(bench, client), range(AT_ONCE)))
            seen.append(time.perf_counter() - began)
    print(f"  {AT_ONCE} requests")
    for name, seen in rows.items():
        print(f"    {name:24} {statistics.median(seen):8.2f} s")


def _lay_out_for_nnunet(bench: Bench) -> None:
    """Put the model where nnU-Net's command looks for it."""
    bundle = bench.bundle()
    results = Workspace.below(bench.folder).results / DATASET_NAME
    shutil.copytree(
        bundle.folder / MODEL_FOLDER, results / f"nnUNetTrainer__{PLANS_NAME}__{bundle.manifest.configuration}"
    )


def _command(bench: Bench) -> None:
    manifest = bench.bundle().manifest
    arguments = ["-i", str(bench.scan.parent), "-o", str(bench.folder / "out"), "-d", DATASET_NAME]
    arguments += ["-c", manifest.configuration, "-f", *(str(fold) for fold in sorted(manifest.folds))]
    program = "nnunetv2.inference.predict_from_raw_data:predict_entry_point"
    _ran([str(bench.log), program, *arguments, "-device", "cpu", "--disable_tta"])


def _ran(arguments: list[str]) -> None:
    command = [sys.executable, str(HERE / "timed.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(), check=False)
    if done.returncode:
        sys.exit(done.stderr)


def _warm_predictor(bench: Bench) -> Callable[[], None]:
    """Return a prediction by nnU-Net's own predictor, its model in this process's memory."""
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    watch_network(bench.log)
    bundle = bench.bundle()
    predictor = nnUNetPredictor(use_mirroring=False, device=torch.device("cpu"), allow_tqdm=False)
    folds = tuple(sorted(bundle.manifest.folds))
    predictor.initialize_from_trained_model_folder(str(bundle.folder / MODEL_FOLDER), use_folds=folds)

    def predict() -> None:
        with contextlib.redirect_stdout(None):
            predictor.predict_from_files(str(bench.scan.parent), str(bench.folder / "out"))

    return predict


@contextlib.contextmanager
def _served(bench: Bench) -> Iterator[httpx.Client]:
    """Start a server of its own process on a free port; end it with the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    program = ["components.serve_model.main:main", "--root", str(bench.root), "--port", str(port)]
    command = [sys.executable, str(HERE / "timed.py"), str(bench.log), *program]
    with (bench.folder / "server.log").open("w") as log, subprocess.Popen(command, stderr=log, stdout=log) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
                _wait_for(client, process)
                yield client
        finally:
            process.terminate()


def _wait_for(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if client.get("/readyz").status_code == httpx.codes.OK:
                return
        time.sleep(0.1)
    sys.exit("the server did not become ready")


def _segment(bench: Bench, client: httpx.Client) -> None:
    client.post("/v1/segmentations", content=bench.scan.read_bytes()).raise_for_status()


if __name__ == "__main__":
    main()
