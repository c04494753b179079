"""The demonstration's data: phantom scans in a repository of their own, prepared and versioned with real DVC."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from spine.errors import StepFailedError
from spine.phantom.raw_set import write_raw_set
from spine.settings import child_environment
from spine.storage import write_text

SCANS = 40
_SEED = 1
_PARAMETERS = {"raw": "data/raw", "split": {"seed": 1, "test_share": 0.3}, "rejects_allowed": 0.5}
_REMOTE = "../../dvc-remote"
_PROJECT = Path(__file__).resolve().parents[1]


def make_demo_data(root: Path, *, scans: int) -> Path:
    """Make, prepare, commit and push the demonstration data set; return its git repository.

    What is there already is left as it is; an interrupted call continues.
    """
    repository = root / "demo-data"
    raw = repository / "data" / "raw"
    if not (raw / "patients.csv").is_file():
        write_raw_set(raw, scans=scans, seed=_SEED)
    if not (repository / ".git").is_dir():
        _call(repository, "git", "init", "--quiet", "--initial-branch", "main")
    _write_definitions(repository)
    lock = repository / "dvc.lock"
    _call(repository, sys.executable, "-m", "dvc", "repro", "--quiet")
    if not lock.is_file():
        raise StepFailedError("prepare_dataset", reason=f"left no {lock}")
    # A call that was killed leaves git's lock; nobody else works in this repository.
    (repository / ".git" / "index.lock").unlink(missing_ok=True)
    _call(repository, "git", "add", "--all")
    if _call(repository, "git", "status", "--porcelain").strip():
        identity = ("-c", "user.name=Spineline demonstration", "-c", "user.email=demo@localhost")
        _call(repository, "git", *identity, "commit", "--quiet", "--message", "Prepare the demonstration data set")
    _call(repository, sys.executable, "-m", "dvc", "push", "--quiet")
    return repository


def _write_definitions(repository: Path) -> None:
    """Use the project's own dvc.yaml, with the demonstration's parameters and remote."""
    for name in ("dvc.yaml", "set_aside.yaml"):
        if not (repository / name).is_file():
            shutil.copy(_PROJECT / name, repository / name)
    write_text(repository / "params.yaml", yaml.safe_dump(_PARAMETERS))
    config = (_PROJECT / ".dvc" / "config").read_text(encoding="utf-8")
    write_text(repository / ".dvc" / "config", config.replace("../.spineline/dvc-remote", _REMOTE))
    write_text(repository / ".dvc" / ".gitignore", "/config.local\n/tmp\n/cache\n")
    write_text(repository / ".gitignore", "/data/\n")


def _call(folder: Path, *command: str) -> str:
    environment = child_environment(
        PATH=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)),
        DVC_SITE_CACHE_DIR=str(folder.parent / "dvc-site"),
        GIT_CEILING_DIRECTORIES=str(folder.parent),
    )
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        message = " ".join(command[:4]).replace(sys.executable, "python")
        raise StepFailedError("prepare_dataset", reason=f"failed in {message}", log_tail=done.stdout + done.stderr)
    return done.stdout
