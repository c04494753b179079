"""What the server touches: the folders that it writes to, who it runs as, and pickles that it never loads."""

import contextlib
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from components.serve_model.server_info import ServerInfo, running_server
from components.serve_model.token_changes import make_token
from model_registry.bundle import MANIFEST_FILE, MODEL_FOLDER, Bundle, list_files
from model_registry.lifecycle import Registry
from spine.storage import digest_file, write_json

pytestmark = pytest.mark.slow

_PATIENCE_S = 240.0
"""For a process to load torch, and to compile what it keeps compiled later."""
WHO = {"actor": "ann", "reason": "for tests"}
HOOK = """
import os, sys
_log = os.open(os.environ["WRITES_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
# Where each event has its path, and the folder that a relative one is meant in.
_CHANGES = {"os.mkdir": (0, 2), "os.rename": (1, 3), "os.link": (1, 3), "os.symlink": (1, 2), "os.remove": (0, 1),
            "os.rmdir": (0, 1), "os.truncate": (0, None), "os.chmod": (0, 2), "os.utime": (0, 3)}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def _hook(event, args):
    folder = None
    if event == "open":
        path, mode, flags = args[0], args[1], args[2] or 0
        if not (flags & _WRITING or isinstance(mode, str) and set(mode) & set("wax+")):
            return
    elif event in _CHANGES:
        at, relative_to = _CHANGES[event]
        path, folder = args[at], None if relative_to is None else args[relative_to]
    else:
        return
    if isinstance(path, (str, bytes, os.PathLike)):
        base = os.readlink(f"/proc/self/fd/{folder}") if isinstance(folder, int) and folder >= 0 else os.getcwd()
        os.write(_log, (os.path.normpath(os.path.join(base, os.fsdecode(path))) + "\\n").encode())

sys.addaudithook(_hook)
"""


@contextmanager
def server(root: Path, *, prefix: tuple[str, ...] = (), **environment: str) -> Iterator[ServerInfo]:
    """Run the program as a process, and end it as a cluster does."""
    command = [*prefix, sys.executable, "-m", "components.serve_model", "--root", str(root), "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path.cwd(),
        env={**os.environ, "SPINELINE_THREADS": "1", **environment},
    )
    try:
        deadline = time.monotonic() + _PATIENCE_S
        while (info := running_server(root)) is None:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield info
        process.terminate()
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        assert "Traceback" not in told
    finally:
        process.kill()
        process.communicate()


def wait_for(info: ServerInfo, version: int | None, *, failed: bool = False) -> dict[str, object]:
    """Wait until a version answers, or until its load is told as failed."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        told = httpx.get(f"{info.url}/v1/model", headers=_headers(), trust_env=False).json()
        if told["version"] == version and (not failed or told["last_failure"]):
            return told
        assert time.monotonic() < deadline, str(told)
        time.sleep(0.05)


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {os.environ.get('TEST_TOKEN', 'none')}"}


def use(info: ServerInfo, scan_bytes: bytes) -> None:
    """Ask for a mask, a report, a job and nonsense, then promote version 2 and roll back."""
    with httpx.Client(base_url=info.url, headers=_headers(), timeout=120, trust_env=False) as client:
        assert client.post("/v1/segmentations", content=scan_bytes).status_code == 200
        report = client.post("/v1/segmentations", files={"file": scan_bytes}, headers={"Accept": "application/json"})
        assert report.status_code == 200
        job = client.post("/v1/segmentations", content=scan_bytes, headers={"Prefer": "respond-async"})
        assert job.status_code == 202
        while client.get(job.headers["Location"]).json()["state"] != "done":
            time.sleep(0.05)
        assert client.get(job.headers["Location"] + "/mask").status_code == 200
        assert client.post("/v1/segmentations", content=b"nonsense").status_code == 400
        made = client.post("/v1/promotions", json={"version": 2, "reason": "for tests"})
        assert made.status_code == 200, made.text
        assert client.post("/v1/rollbacks", json={"reason": "for tests"}).status_code == 200
        assert client.get("/metrics").status_code == 200


@pytest.fixture
def protected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tokens file with an operator, whose token the tests use."""
    path = tmp_path / "secrets" / "tokens.yaml"
    path.parent.mkdir()
    monkeypatch.setenv("TEST_TOKEN", make_token(path, name="olga", role="operator", lasts=None))
    monkeypatch.setenv("SPINELINE_TOKENS", str(path))
    return path


def test_every_file_that_is_opened_for_writing_lies_where_the_help_says(
    registry_with_two_versions, protected: Path, scan_bytes: bytes, tmp_path: Path
) -> None:
    root = registry_with_two_versions.root
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    hooks, log, scratch = tmp_path / "hooks", tmp_path / "writes.log", tmp_path / "scratch"
    hooks.mkdir()
    scratch.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    environment = {
        "PYTHONPATH": f"{hooks}{os.pathsep}{os.environ.get('PYTHONPATH', '')}".rstrip(os.pathsep),
        "WRITES_LOG": str(log),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with server(root, **environment) as info:
        wait_for(info, 1)
        use(info, scan_bytes)
    allowed = (root / "serving", root / "replicas", root / "ledger", scratch, Path("/dev/null"))
    written = {Path(line) for line in log.read_text().splitlines()}
    assert any(path.is_relative_to(root / "serving" / "audit") for path in written), "the hook sees nothing"
    assert any(path.is_relative_to(root / "ledger") for path in written)
    strays = {path for path in written if not any(path == place or path.is_relative_to(place) for place in allowed)}
    # Numba keeps what it compiles beside the code, where that can be written.
    strays = {path for path in strays if "__pycache__" not in path.parts}
    # Where a folder is there already, asking for it makes nothing.
    assert not {path for path in strays if not path.is_dir()}


def _can_confine() -> bool:
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "mount"))):
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_confine(), reason="needs root, unshare and setpriv to take rights away")
def test_it_serves_promotes_and_rolls_back_as_nobody_on_a_read_only_file_system(
    registry_with_two_versions, protected: Path, scan_bytes: bytes, tmp_path: Path
) -> None:
    root, nobody = registry_with_two_versions.root, 65534
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    writable = [root / name for name in ("serving", "replicas", "ledger")]
    for folder in writable:
        folder.mkdir(exist_ok=True)
        for path in (folder, *folder.rglob("*")):
            os.chown(path, nobody, nobody)
    os.chown(protected, nobody, nobody)
    script = tmp_path / "confined.sh"
    binds = "\n".join(f"mount --bind '{folder}' '{folder}'" for folder in writable)
    # It may read all that root may: the interpreter of these tests can lie in root's own folder.
    script.write_text(
        f"""set -e
{binds}
mount -o remount,bind,ro "$(findmnt -n -o TARGET -T '{root}')" || true
mount -o remount,bind,ro /
exec setpriv --reuid {nobody} --regid {nobody} --clear-groups --no-new-privs \\
  --inh-caps -all,+dac_read_search --ambient-caps -all,+dac_read_search --bounding-set -all,+dac_read_search "$@"
"""
    )
    with server(root, prefix=("unshare", "--mount", "sh", str(script))) as info:
        wait_for(info, 1)
        status = Path(f"/proc/{info.pid}/status").read_text()
        assert f"Uid:\t{nobody}\t{nobody}" in status
        mounts = [line.split() for line in Path(f"/proc/{info.pid}/mounts").read_text().splitlines()]
        assert "ro" in next(mount[3] for mount in reversed(mounts) if mount[1] == "/").split(",")
        use(info, scan_bytes)
    assert registry_with_two_versions.state().serving == 1
    assert (root / "serving" / "audit" / "audit.jsonl").stat().st_uid == nobody


class Planted:
    """What runs a command when it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch '{self._marker}'",)


def plant(checkpoint: Path, marker: Path, *, form: str) -> None:
    """Put a pickle that runs code into a checkpoint: within what torch writes, or bare."""
    import torch

    if form == "bare":
        checkpoint.write_bytes(pickle.dumps(Planted(marker)))
        return
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "extra": Planted(marker)}, checkpoint)


def reseal(bundle: Bundle) -> None:
    """Write the manifest anew, so that every digest in it is right."""
    folds = {
        fold: digest_file(bundle.folder / MODEL_FOLDER / f"fold_{fold}" / "checkpoint_final.pth")
        for fold in bundle.manifest.folds
    }
    manifest = bundle.manifest.model_copy(update={"files": list_files(bundle.folder), "folds": folds})
    write_json(bundle.folder / MANIFEST_FILE, manifest.model_dump(mode="json"))


@pytest.mark.parametrize("form", ["within", "bare"])
@pytest.mark.parametrize("is_in_ledger", [True, False])
def test_a_checkpoint_that_runs_code_runs_nothing_whether_or_not_its_digest_is_in_the_ledger(
    make_bundle, scan_bytes: bytes, tmp_path: Path, is_in_ledger: bool, form: str
) -> None:
    registry, marker = Registry(tmp_path / "root"), tmp_path / "it ran"
    good = make_bundle(registry.root / "versions" / "1", seed=1)
    bad = make_bundle(registry.root / "versions" / "2", seed=2)
    checkpoint = bad.folder / MODEL_FOLDER / "fold_0" / "checkpoint_final.pth"
    if is_in_ledger:
        plant(checkpoint, marker, form=form)
        reseal(bad)
    for version, folder in ((1, good.folder), (2, bad.folder)):
        registry.register(version=version, bundle=Bundle(folder), **WHO)
        registry.approve(version, **WHO)
    if not is_in_ledger:
        plant(checkpoint, marker, form=form)
    registry.promote(1, **WHO, expected_serving=None)
    scan = tmp_path / "scan.nii.gz"
    scan.write_bytes(scan_bytes)
    with server(registry.root) as info:
        wait_for(info, 1)
        registry.promote(2, **WHO, expected_serving=1)
        told = wait_for(info, 1, failed=True)
        assert told["last_failure"]["version"] == 2
        assert httpx.post(f"{info.url}/v1/segmentations", content=scan_bytes, trust_env=False).status_code == 200
    command = [sys.executable, "-m", "pipelines.cli", "predict", str(scan), str(tmp_path / "mask.nii.gz")]
    environment = {**os.environ, "SPINELINE_ROOT": str(registry.root), "SPINELINE_THREADS": "1"}
    predicted = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert predicted.returncode == 2, predicted.stderr
    assert predicted.stderr.count("\n") == 1
    assert not marker.exists()
    # The pickle does run where it is loaded without care.
    pickle_loaded_without_care(checkpoint)
    assert marker.exists()


def pickle_loaded_without_care(checkpoint: Path) -> None:
    import torch

    with contextlib.suppress(Exception):
        torch.load(checkpoint, weights_only=False)
