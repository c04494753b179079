"""The server's own folder: counted while it lives, removed when it is gone, and never another living server's."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.serve_model.disk import Disk
from components.serve_model.errors import FullError, StorageError


def test_what_a_desk_took_is_given_back_when_it_is_cleared(tmp_path: Path) -> None:
    disk = Disk(tmp_path, limit_bytes=100)
    disk.open()
    first, second = disk.desk(), disk.desk()
    first.take(60)
    second.take(40)
    with pytest.raises(FullError) as refused:
        second.take(1)
    assert (refused.value.status, refused.value.retry_after_s) == (503, 30)
    (first.folder / "upload").write_bytes(b"scan")
    first.clear()
    assert not first.folder.exists()
    second.take(60)
    disk.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_server_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    left = (
        "import os, signal; from pathlib import Path; from components.serve_model.disk import Disk; "
        f"disk = Disk(Path({str(tmp_path)!r}), limit_bytes=100); disk.open(); "
        "(disk.desk().folder / 'upload').write_bytes(b'scan'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", left], check=False, cwd=Path.cwd())
    assert [path.name for path in tmp_path.rglob("upload")] == ["upload"]
    living = Disk(tmp_path, limit_bytes=100)
    living.open()
    assert list(tmp_path.rglob("upload")) == []
    (living.desk().folder / "upload").write_bytes(b"scan")
    other = Disk(tmp_path, limit_bytes=100)
    other.open()
    assert len(list(tmp_path.rglob("upload"))) == 1


def test_no_desk_is_had_before_the_disk_is_open(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Disk(tmp_path, limit_bytes=100).desk()
