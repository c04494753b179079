"""Files are whole or absent, whatever happens to who writes them; JSON is strict; digests tell content."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from spine.errors import MalformedFileError, MissingPathError, OutOfSpaceError
from spine.storage import (
    atomic_file,
    atomic_folder,
    clear_leftovers,
    digest_bytes,
    digest_file,
    digest_folder,
    digest_value,
    read_json,
    short,
    strict_json,
    write_json,
    write_text,
)

WRITERS = {
    "file": (atomic_file, lambda place, text: place.write_text(text)),
    "folder": (atomic_folder, lambda place, text: (place / "inside.txt").write_text(text)),
}
CHILD = """
import sys, time
from pathlib import Path
from spine.storage import atomic_file, atomic_folder
kind, path = sys.argv[1], Path(sys.argv[2])
with {"file": atomic_file, "folder": atomic_folder}[kind](path) as partial:
    (partial if kind == "file" else partial / "inside.txt").write_text("half of it")
    print("writing", flush=True)
    time.sleep(60)
"""


def content(path: Path) -> str:
    return (path / "inside.txt" if path.is_dir() else path).read_text()


@pytest.fixture(params=sorted(WRITERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def put(kind: str) -> Callable[[Path, str], None]:
    def write(path: Path, text: str) -> None:
        atomic, fill = WRITERS[kind]
        with atomic(path) as partial:
            fill(partial, text)

    return write


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_written_content_stands_under_the_final_name_alone(tmp_path: Path, put: Callable[[Path, str], None]) -> None:
    put(tmp_path / "new" / "thing", "first")
    put(tmp_path / "new" / "thing", "second")
    assert content(tmp_path / "new" / "thing") == "second"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["thing"]


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("crash", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_crash_inside_leaves_the_old_content_and_no_partial(
    tmp_path: Path, kind: str, put: Callable[[Path, str], None], before: str | None, crash: type[BaseException]
) -> None:
    path = tmp_path / "thing"
    if before:
        put(path, before)
    atomic, fill = WRITERS[kind]
    with pytest.raises(crash), atomic(path) as partial:
        fill(partial, "half")
        raise crash
    assert [entry.name for entry in tmp_path.iterdir()] == (["thing"] if before else [])
    assert not before or content(path) == before


@pytest.mark.parametrize("before", [None, "old"])
def test_a_killed_writer_leaves_nothing_new_under_the_final_name(
    tmp_path: Path, kind: str, put: Callable[[Path, str], None], before: str | None
) -> None:
    path = tmp_path / "thing"
    if before:
        put(path, before)
    child = subprocess.Popen([sys.executable, "-c", CHILD, kind, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert content(path) == before if before else not path.exists()
    put(path, "after")
    assert content(path) == "after"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for names in (("a", "b"), ("c",)):
        with atomic_folder(tmp_path / "thing") as partial:
            for name in names:
                (partial / name).touch()
    assert [path.name for path in (tmp_path / "thing").iterdir()] == ["c"]


def test_who_reads_while_a_file_is_replaced_reads_the_old_one_to_its_end(tmp_path: Path) -> None:
    write_text(tmp_path / "thing", "old and longer")
    with (tmp_path / "thing").open() as reader:
        write_text(tmp_path / "thing", "new")
        assert reader.read() == "old and longer"


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder")] == [0o644, 0o755]


def test_the_suffix_is_kept_for_writers_that_choose_their_format_by_it(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "scan.nii.gz") as partial:
        assert partial.name.endswith(".nii.gz")
        assert partial.parent == tmp_path


def test_a_full_disk_is_named_and_keeps_the_old_content(
    small_disk: Path, kind: str, put: Callable[[Path, str], None]
) -> None:
    path = small_disk / "thing"
    put(path, "old")
    with pytest.raises(OutOfSpaceError, match=f"{path}: no space left"):
        put(path, "x" * 200_000)
    assert content(path) == "old"
    assert [entry.name for entry in small_disk.iterdir()] == ["thing"]


def test_a_disk_that_fills_at_the_last_moment_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfSpaceError, match="thing: no space left"):
        write_text(tmp_path / "thing", "x")
    assert not list(tmp_path.iterdir())


def test_another_refusal_of_the_system_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_file(tmp_path / "thing") as partial:
        (tmp_path / "thing").mkdir()
        partial.touch()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "null"),
        (float("inf"), "null"),
        ({"b": [1.5, float("-inf")], "a": (float("nan"),)}, '{"a": [null], "b": [1.5, null]}'),
        ({3: "ü", 1: True}, '{"1": true, "3": "ü"}'),
        ({"deep": {"deeper": [{"x": float("nan")}]}}, '{"deep": {"deeper": [{"x": null}]}}'),
        (0.1, "0.1"),
    ],
)
def test_json_is_strict_and_sorted(value: object, text: str) -> None:
    assert strict_json(value) == text


def test_json_is_read_as_written(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [1, None, "ü"]})
    assert read_json(tmp_path / "x.json", expected="x") == {"a": [1, None, "ü"]}
    assert (tmp_path / "x.json").read_text().endswith("}\n")


@pytest.mark.parametrize("damage", [b"", b'{"a": 1', b"\xff\xfe{}", b"<html>"])
def test_what_is_not_json_is_refused_with_its_place(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "x.json").write_bytes(damage)
    with pytest.raises(MalformedFileError, match=r"x\.json: not JSON .*expected a manifest"):
        read_json(tmp_path / "x.json", expected="a manifest")


def test_missing_json_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"x\.json: not found; expected a manifest"):
        read_json(tmp_path / "x.json", expected="a manifest")


def test_a_digest_is_that_of_sha256(tmp_path: Path) -> None:
    of_abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    (tmp_path / "abc").write_bytes(b"abc")
    assert digest_bytes(b"abc") == digest_file(tmp_path / "abc") == of_abc
    assert short(of_abc) == "ba7816bf8f01"


def test_a_file_of_several_blocks_has_the_digest_of_its_whole_content(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    (tmp_path / "big").write_bytes(content)
    assert digest_file(tmp_path / "big") == digest_bytes(content)


def test_the_digest_of_a_value_depends_on_content_and_not_on_the_order_of_keys() -> None:
    assert digest_value({"a": 1, "b": [2]}) == digest_value(json.loads('{"b": [2], "a": 1}'))
    assert digest_value({"a": [1, 2]}) != digest_value({"a": [2, 1]})


def test_the_digest_of_a_folder_depends_on_names_and_contents_only(tmp_path: Path) -> None:
    def make(folder: str, files: dict[str, str]) -> str:
        for name, text in files.items():
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(text)
            os.utime(tmp_path / folder / name, (time.time(), len(folder)))
        return digest_folder(tmp_path / folder)

    first = make("one", {"a": "1", "in/b": "2"})
    assert first == make("second", {"in/b": "2", "a": "1"})
    assert first != make("renamed", {"a": "1", "in/c": "2"})
    assert first != make("changed", {"a": "1", "in/b": "3"})
    assert first != make("swapped", {"a": "2", "in/b": "1"})


def test_what_a_killed_run_left_beside_a_folder_is_cleared_and_nothing_else(tmp_path):
    target = tmp_path / "set"
    for name in (".partial-set-x1", ".replaced-y/set", ".partial-other-x1", ".replaced-z/other", "set", "sets"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("x")
    (tmp_path / ".replaced-empty").mkdir()
    clear_leftovers(target)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".partial-other-x1", ".replaced-z", "set", "sets"}
