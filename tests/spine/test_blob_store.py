"""Blob stores: the same promises in a folder and on S3, and what is told where a place is away or can't keep them."""

import multiprocessing
import os
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spine.blob_store import (
    BlobMissingError,
    BlobStore,
    BlobStoreError,
    BlobStoreUnreachableError,
    FolderBlobStore,
)
from spine.blob_stores import open_blob_store
from spine.errors import InvalidValueError, OutOfSpaceError


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place that nothing was put in yet."""
    return (
        str(tmp_path / "blob store")
        if request.param == "folder"
        else f"s3://{request.getfixturevalue('bucket')}/a/blob store"
    )


@pytest.fixture
def blob_store(place: str, s3_server: str) -> BlobStore:
    return open_blob_store(place, endpoint=s3_server)


def test_a_place_that_nothing_was_put_in_is_empty(blob_store: BlobStore, place: str) -> None:
    assert blob_store.listed() == {}
    assert blob_store.place == place
    with pytest.raises(BlobMissingError, match=f"{place}/a.json: not found"):
        blob_store.read("a.json")


def test_what_is_created_is_there_and_its_name_taken(blob_store: BlobStore) -> None:
    assert blob_store.create("a.json", b"first")
    assert not blob_store.create("a.json", b"second")
    assert not blob_store.create("a.json", b"first"), "somebody else may have said the same"
    assert blob_store.read("a.json") == b"first"
    assert list(blob_store.listed()) == ["a.json"]


def test_names_are_listed_in_order_by_prefix_and_across_folders(blob_store: BlobStore) -> None:
    for name in ("b/2.json", "b/1.json", "a.json", "b/deep/3.json", "ba.json", ".hidden", "b/.hidden"):
        blob_store.replace(name, b"x")
    assert list(blob_store.listed()) == ["a.json", "b/1.json", "b/2.json", "b/deep/3.json", "ba.json"]
    assert list(blob_store.listed("b/")) == ["b/1.json", "b/2.json", "b/deep/3.json"]
    assert list(blob_store.listed("b")) == ["b/1.json", "b/2.json", "b/deep/3.json", "ba.json"]
    assert list(blob_store.listed("b/de")) == ["b/deep/3.json"]
    assert blob_store.listed("c") == {}


def test_a_stamp_changes_with_the_content_alone(blob_store: BlobStore) -> None:
    for name in ("a", "b"):
        blob_store.replace(name, b"one")
    first = _settled(blob_store)
    assert _settled(blob_store) == first
    blob_store.replace("a", b"two")
    second = _settled(blob_store)
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]


def test_a_removed_content_is_gone_and_removing_it_again_is_no_error(blob_store: BlobStore) -> None:
    blob_store.replace("a", b"x")
    blob_store.remove("a")
    blob_store.remove("a")
    assert blob_store.listed() == {}
    assert blob_store.create("a", b"again")


def test_files_go_there_and_come_back(blob_store: BlobStore, tmp_path: Path) -> None:
    content = os.urandom(9_000_000)
    (tmp_path / "here").write_bytes(content)
    blob_store.send("models/large.bin", tmp_path / "here")
    blob_store.fetch("models/large.bin", tmp_path / "there" / "large.bin")
    assert (tmp_path / "there" / "large.bin").read_bytes() == content
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["large.bin"]


def test_fetching_what_is_not_there_leaves_the_file_as_it_was(blob_store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    with pytest.raises(BlobMissingError):
        blob_store.fetch("none", tmp_path / "target")
    assert (tmp_path / "target").read_text() == "old"


def test_sending_what_is_not_here_is_not_told_as_missing_there(tmp_path: Path) -> None:
    with pytest.raises(BlobStoreError, match="no such file") as raised:
        FolderBlobStore(tmp_path / "blob store").send("a", tmp_path / "none")
    assert not isinstance(raised.value, BlobMissingError)


@pytest.mark.parametrize("name", ["", "/a", "a//b", "../a", "a/..", "."])
def test_a_name_leads_to_no_other_place(blob_store: BlobStore, name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    attempts: list[Callable[[], object]] = [
        lambda: blob_store.read(name),
        lambda: blob_store.create(name, b"x"),
        lambda: blob_store.replace(name, b"x"),
        lambda: blob_store.remove(name),
        lambda: blob_store.send(name, tmp_path / "file"),
        lambda: blob_store.fetch(name, tmp_path / "file"),
    ]
    for attempt in attempts:
        with pytest.raises(InvalidValueError, match="expected names between slashes"):
            attempt()
    assert (tmp_path / "file").read_text() == "x"


def test_a_neighbour_lies_beside(blob_store: BlobStore, place: str) -> None:
    beside = blob_store.neighbour("replicas")
    beside.replace("a", b"x")
    assert beside.place == place.removesuffix("blob store") + "replicas"
    assert list(beside.listed()) == ["a"]
    assert blob_store.listed() == {}


def _create(place: str, endpoint: str, writer: int, start: object, results: object) -> None:
    blob_store = open_blob_store(place, endpoint=endpoint)
    for number in range(20):
        start.wait()  # type: ignore[attr-defined]
        results.put((number, blob_store.create(f"{number}", f"by {writer}".encode())))  # type: ignore[attr-defined]


def test_of_two_processes_that_create_one_name_exactly_one_does(
    place: str, relay: Callable[..., tuple[str, list[str]]]
) -> None:
    endpoint, _ = relay()
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(2), context.Queue()
    writers = [context.Process(target=_create, args=(place, endpoint, n, start, results)) for n in range(2)]
    for writer in writers:
        writer.start()
    told = [results.get(timeout=60) for _ in range(40)]
    for writer in writers:
        writer.join()
    assert [sum(won for number, won in told if number == wanted) for wanted in range(20)] == [1] * 20


def test_a_replaced_content_is_never_seen_in_part(blob_store: BlobStore) -> None:
    contents = [bytes([65 + number]) * 200_000 for number in range(10)]
    blob_store.replace("a", contents[0])
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [blob_store.replace("a", content) for content in contents * 3])
        while not writing.done():
            assert blob_store.read("a") in contents


def test_a_created_file_is_protected_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    blob_store = FolderBlobStore(tmp_path)
    blob_store.create("a", b"x")
    blob_store.create("a", b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o444


def test_a_change_that_hides_behind_an_old_time_has_another_stamp(tmp_path: Path) -> None:
    blob_store = FolderBlobStore(tmp_path)
    blob_store.replace("a", b"one")
    before, times = _settled(blob_store), (tmp_path / "a").stat()
    (tmp_path / "a").write_bytes(b"two")
    os.utime(tmp_path / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert blob_store.listed() != before


def test_two_changes_in_one_tick_of_the_clock_have_two_stamps(tmp_path: Path) -> None:
    blob_store = FolderBlobStore(tmp_path)
    (tmp_path / "a").write_bytes(b"0")
    for number in range(1, 200):
        before = blob_store.listed()
        (tmp_path / "a").write_bytes(b"%d" % (number % 10))
        assert blob_store.listed() != before


def test_a_share_that_is_not_mounted_is_no_empty_blob_store(tmp_path: Path) -> None:
    blob_store = open_blob_store(tmp_path / "share" / "ledger")
    for attempt in (blob_store.listed, lambda: blob_store.create("a", b"x"), blob_store.neighbour("replicas").listed):
        with pytest.raises(BlobStoreUnreachableError, match=f"{tmp_path}/share is not there"):
            attempt()
    assert not (tmp_path / "share").exists()


@pytest.mark.parametrize("url", ["", "  ", "gs://bucket/x", "http://host/x", "s3://", "s3:///x"])
def test_a_url_of_no_blob_store_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match="expected .*s3://bucket"):
        open_blob_store(url)


def test_a_folder_may_be_a_file_url_and_have_any_name(tmp_path: Path) -> None:
    odd = tmp_path / "a #1?"
    assert open_blob_store(str(odd)).place == open_blob_store(odd.as_uri()).place == str(odd)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spine.blob_store.os.fsync", full)
    with pytest.raises(OutOfSpaceError, match=f"{tmp_path}/a: no space left"):
        FolderBlobStore(tmp_path).create("a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_an_input_error_of_a_share_is_told_as_being_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("spine.blob_store.os.scandir", broken)
    with pytest.raises(BlobStoreUnreachableError, match="stale file handle"):
        FolderBlobStore(tmp_path).listed()


def _settled(blob_store: BlobStore) -> dict[str, str]:
    """Return stamps that hold: those of a folder's newest changes don't for a moment."""
    time.sleep(0.15)
    return blob_store.listed()
