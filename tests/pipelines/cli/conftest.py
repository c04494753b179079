"""The command line run in this process, on a root of its own, and two folders of toy masks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipelines.cli.app import run
from spine.settings import settings
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, write_volume


@dataclass(frozen=True)
class Told:
    """What one command answered."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr that is not progress."""
        progress = ("evaluate: ", "prepare_dataset: ", "promote_model: ", "pull_dataset: ")
        (line,) = (line for line in self.err.splitlines() if not line.startswith(progress))
        return line


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty root that the settings name; the current folder is the test's own too."""
    for name in ("PROGRESS_FILE", "TRACKING_URI", "REPOSITORY", "REMOTE", "PORT"):
        monkeypatch.delenv(f"SPINELINE_{name}", raising=False)
    monkeypatch.setenv("SPINELINE_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("SPINELINE_ACTOR", "ann")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield tmp_path / "root"
    settings.cache_clear()


@pytest.fixture
def spineline(root: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """A function that runs one command and returns its exit code and streams."""

    def call(*arguments: object) -> Told:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        streams = capsys.readouterr()
        return Told(code=code, out=streams.out, err=streams.err)

    return call


def _spine(labels: tuple[int, ...]) -> Volume:
    array = np.zeros((16, 16, 50), dtype=np.uint8)
    for place, label in enumerate(labels):
        array[3:13, 3:13, 38 - place * 10 : 46 - place * 10] = label
    return Volume(array=array, grid=Grid.of(array.shape, np.diag([1.5, 1.5, 1.5, 1.0])))


@pytest.fixture
def masks(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a folder of toy masks, a tuple of labels a case."""

    def write(name: str, cases: dict[str, tuple[int, ...]]) -> Path:
        for case, labels in cases.items():
            write_volume(tmp_path / name / f"{case}.nii.gz", _spine(labels))
        return tmp_path / name

    return write
