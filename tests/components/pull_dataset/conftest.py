"""A real git and DVC repository with a prepared data set and a pushed remote, made once, copied for each test."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from spine.phantom import make_scan
from spine.volume.nifti import write_volume

PROJECT = Path(__file__).resolve().parents[3]
_PATIENTS = range(6)


@dataclass(frozen=True)
class Published:
    """A repository whose remote is the folder beside it, its commits, and the DVC hash of each."""

    repository: Path
    remote: Path
    first: str
    second: str
    hashes: dict[str, str]

    def git(self, *arguments: str) -> str:
        return _call(self.repository, "git", *arguments).strip()

    def object(self, md5: str) -> Path:
        return self.remote / "files" / "md5" / md5[:2] / md5[2:]


def _call(folder: Path, *command: str) -> str:
    identity = {
        f"GIT_{role}_{key}": value
        for role in ("AUTHOR", "COMMITTER")
        for key, value in (("NAME", "Test"), ("EMAIL", "test@localhost"))
    }
    environment = {
        **os.environ,
        **identity,
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath)),
        "PYTHONPATH": str(PROJECT),
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site"),
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _write_scan(raw: Path, patient: int) -> None:
    scan = make_scan(seed=1, patient=patient, first=20, last=23, spacing_mm=(10.0, 10.0, 10.0))
    write_volume(raw / "volumes" / f"case_{patient}.nii.gz", scan.image)
    write_volume(raw / "segmentations" / f"case_{patient}.nii.gz", scan.labels)


def _version(repository: Path, tag: str) -> tuple[str, str]:
    """Prepare, commit and push what is in data/raw; return the commit and the hash in dvc.lock."""
    dvc = (sys.executable, "-m", "dvc")
    _call(repository, *dvc, "repro", "--quiet")
    _call(repository, "git", "add", "--all")
    _call(repository, "git", "commit", "--quiet", "--message", tag)
    _call(repository, "git", "tag", tag)
    _call(repository, *dvc, "push", "--quiet")
    lock = yaml.safe_load((repository / "dvc.lock").read_text())
    return _call(repository, "git", "rev-parse", "HEAD").strip(), lock["stages"]["prepare_dataset"]["outs"][0]["md5"]


@pytest.fixture(scope="module")
def _published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    home = tmp_path_factory.mktemp("published")
    repository = home / "repository"
    for patient in _PATIENTS:
        _write_scan(repository / "data" / "raw", patient)
    shutil.copy(PROJECT / "dvc.yaml", repository / "dvc.yaml")
    parameters = {"raw": "data/raw", "split": {"seed": 1, "test_share": 0.3}}
    (repository / "params.yaml").write_text(yaml.safe_dump(parameters))
    (repository / ".gitignore").write_text("/data/\n")
    _call(repository, "git", "init", "--quiet", "--initial-branch", "main")
    _call(repository, sys.executable, "-m", "dvc", "init", "--quiet")
    _call(repository, sys.executable, "-m", "dvc", "remote", "add", "--quiet", "-d", "folder", "../remote")
    first, first_hash = _version(repository, "v1")
    _write_scan(repository / "data" / "raw", len(_PATIENTS))
    second, second_hash = _version(repository, "v2")
    return Published(repository, home / "remote", first, second, {first: first_hash, second: second_hash})


@pytest.fixture
def published(_published: Published, tmp_path: Path) -> Published:
    """A copy of the repository and its remote, to spoil: tags v1 (six scans) and v2 (seven) on branch main."""
    home = tmp_path / "published"
    shutil.copytree(_published.repository, home / "repository", ignore=shutil.ignore_patterns("data", "cache", "tmp"))
    shutil.copytree(_published.remote, home / "remote")
    return Published(home / "repository", home / "remote", _published.first, _published.second, _published.hashes)
