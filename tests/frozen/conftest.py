"""The root of an earlier release, unpacked once; tests that change it get a copy."""

import shutil
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).with_name("root.tar.xz")


@pytest.fixture(scope="session")
def frozen_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root as it was written; never change it."""
    folder = tmp_path_factory.mktemp("frozen")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "spineline"


@pytest.fixture
def root(frozen_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the root that this process works on, as ``cleo``."""
    copy = Path(shutil.copytree(frozen_root, tmp_path / "root", symlinks=True))
    monkeypatch.setenv("SPINELINE_ROOT", str(copy))
    monkeypatch.setenv("SPINELINE_ACTOR", "cleo")
    monkeypatch.setenv("SPINELINE_DEVICES", "cpu")
    return copy
