"""Commands on using models: predict, serve and MLflow's pages; and the demonstration."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipelines.cli.output import console, errors, print_json, print_table
from spine.settings import settings

_HERE: Final = "127.0.0.1"
_FINDINGS: Final = ("vertebra", "mm³", "centroid, mm", "confidence", "margin, nats", "look at")
JsonOption = Annotated[bool, typer.Option("--json", help="Print strict JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (predict, serve, ui, demo):
        app.command()(command)


def predict(
    image: Annotated[Path, typer.Argument(metavar="IN", help="CT volume, .nii or .nii.gz, any orientation.")],
    mask: Annotated[Path, typer.Argument(metavar="OUT", help="Mask to write, .nii.gz, on the scan's own grid.")],
    version: Annotated[int | None, typer.Option(help="Version to use; the one in use where not given.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Label the vertebrae of one CT scan. For research and decision support, not for clinical use."""
    from pipelines.prediction import predict_file

    answer = predict_file(settings().root_path, image=image, mask=mask, version=version, threads=settings().cpu_threads)
    if as_json:
        print_json(answer)
        return
    names = ", ".join(found["name"] for found in answer["vertebrae"]) or "no vertebra found"
    console.print(
        f"{mask}: {names} (version {answer['version']}; not for clinical use)", highlight=False, soft_wrap=True
    )
    rows = [_row(found) for found in answer["vertebrae"]]
    if rows:
        print_table("From superior to inferior", _FINDINGS, rows)
    unassigned = [
        f"{count} {'voxel' if count == 1 else 'voxels'} labelled {name} belong to no vertebra"
        for name, count in answer["stray_voxels"].items()
    ]
    for message in (*answer["flags"], *answer["remarks"], *unassigned):
        console.print(f"  {message}", highlight=False, soft_wrap=True, markup=False)


def _row(found: dict[str, Any]) -> tuple[object, ...]:
    place = ", ".join(f"{edge:.0f}" for edge in found["centroid_mm"])
    confidence, margin = (f"{found[name]:.2f}" for name in ("confidence", "margin"))
    return found["name"], f"{found['volume_mm3']:.0f}", place, confidence, margin, ", ".join(found["flags"])


def serve(
    port: Annotated[
        int | None, typer.Option(help="Port; SPINELINE_PORT or 8642 where not given.", min=1, max=65535)
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 where not given.")] = None,
    detach: Annotated[
        bool, typer.Option(help="Start it in the background and return when the version in use answers.")
    ] = False,
    stop: Annotated[bool, typer.Option(help="Stop the server that was started below this root.")] = False,
    without_tokens: Annotated[
        bool, typer.Option("--without-tokens", help="Let everybody read who reaches --host beyond this machine.")
    ] = False,
) -> int:
    """Serve the version in use over HTTP, and follow promotions and rollbacks without a restart.

    SPINELINE_TOKENS names the file of those who may use it (`spineline token`); `python -m components.serve_model
    --help` lists limits, memory and the folders that it writes.
    """
    from pipelines.server_process import run_server, stop_server

    root = settings().root_path
    if stop:
        console.print("stopped" if stop_server(root) else "no server runs here")
        return 0
    if detach:
        _detach(host, port, without_tokens=without_tokens)
        return 0
    return run_server(root, host=host or _HERE, port=port or settings().port, without_tokens=without_tokens)


def _detach(host: str | None, port: int | None, *, without_tokens: bool) -> None:
    """Start the server, or find the one that runs where it was asked for, and wait for the version in use."""
    from model_registry.lifecycle import Registry
    from pipelines.server_process import await_ready, require_place, start_detached
    from spine.blob_store import BlobStoreError

    root = settings().root_path
    info = start_detached(root, host=host or _HERE, port=port or settings().port, without_tokens=without_tokens)
    require_place(info, root, host=host, port=port)
    ends = f"serving at {info.url} (pid {info.pid}); `spineline serve --stop` ends it"
    try:
        wanted = Registry.at(root, settings()).state().serving
    except BlobStoreError as error:
        wanted = None
        errors.print(f"warning: not waited for a version: {error}", style="yellow", markup=False, soft_wrap=True)
    if wanted is None:
        console.print(f"{ends}; no version answers before one is promoted", highlight=False, soft_wrap=True)
        return
    version = await_ready(root, info, on_wait=lambda message: errors.print(message, highlight=False, soft_wrap=True))
    console.print(f"version {version}: {ends}", highlight=False, soft_wrap=True)


def ui(
    port: Annotated[int, typer.Option(help="Port for MLflow's pages.", min=1, max=65535)] = 5000,
) -> None:
    """Open MLflow's pages on this machine's runs and versions; ends with Ctrl-C."""
    uri = settings().mlflow_uri
    if uri.startswith("http"):
        console.print(f"MLflow runs at {uri}")
        return
    console.print(f"MLflow at http://127.0.0.1:{port}/#/models/{settings().model_name}", highlight=False)
    arguments = ["-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - a fixed program with a list


def demo() -> None:
    """Run the whole chain on phantom scans: data, two versions, promotion, a server, comparison, rollback.

    What is done is found again, so that a second call takes seconds and an interrupted one continues.
    """
    from model_registry.policy import load_policy
    from pipelines.demo import run_demo
    from pipelines.demo_data import SCANS
    from spine.recipe import load_recipe

    recipes = (load_recipe("demo"), load_recipe("demo-longer"))
    run_demo(recipes=recipes, policy=load_policy("demo"), scans=SCANS)
