"""Copies of checkpoints in an object store: sent in the background, fetched back where they verify."""

import time
import uuid

import pytest

from spine.errors import InvalidValueError
from spine.nnunet import checkpoint_files, checkpoint_sync, checkpoints
from spine.nnunet.checkpoint_files import FINAL, Position
from spine.nnunet.checkpoint_sync import (
    BackgroundCopies,
    CheckpointStore,
    CopyFailedError,
    StoreRefusedError,
    clear_unsent,
    fetch_newer,
)


@pytest.fixture
def client(s3_server, credentials):
    import boto3

    return boto3.client("s3", endpoint_url=s3_server)


@pytest.fixture
def bucket(client):
    name = f"spine-{uuid.uuid4().hex[:8]}"
    client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def store(bucket, s3_server):
    return CheckpointStore(f"s3://{bucket}/trainings", endpoint=s3_server, prefix="candidate/fold_0")


@pytest.fixture
def write(tmp_path):
    def make(*positions, folder=tmp_path / "here"):
        paths = [folder / (FINAL if at is None else Position(*at).file_name) for at in positions]
        for number, path in enumerate(paths):
            checkpoints.save({"number": number, "folder": str(folder)}, path)
        return paths

    return make


def sent(store, *paths):
    background = BackgroundCopies(store)
    for path in paths:
        background.send(path)
        assert wait(lambda name=path.name: name in store.names())
    assert background.close(timeout_s=30)


def wait(condition, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_what_was_sent_comes_back_on_another_machine(store, write, tmp_path):
    (path,) = write((2, 5))
    sent(store, path)
    there = tmp_path / "there"
    found, digest = fetch_newer(store, there, than=None, on_rejected=pytest.fail)
    assert found == there / path.name
    assert found.read_bytes() == path.read_bytes()
    assert digest == checkpoint_files.verify(found) == checkpoint_files.sealed_digest(path)


def test_two_are_kept_there_and_only_the_final_one_in_the_end(store, write):
    paths = write((1, 0), (2, 0), (3, 0))
    sent(store, *paths)
    assert store.names() == [paths[2].name, paths[1].name]
    sent(store, *write(None))
    assert store.names() == [FINAL]


def test_a_newer_one_here_is_not_fetched_over(store, write, tmp_path):
    sent(store, *write((2, 0)))
    (newer,) = write((2, 1), folder=tmp_path / "there")
    assert fetch_newer(store, tmp_path / "there", than=newer, on_rejected=pytest.fail) is None


def test_a_newer_one_there_is_fetched(store, write, tmp_path):
    sent(store, *write((3, 0)))
    (older,) = write((2, 1), folder=tmp_path / "there")
    found, _ = fetch_newer(store, tmp_path / "there", than=older, on_rejected=pytest.fail)
    assert found.name == Position(3, 0).file_name


def test_a_copy_that_was_changed_falls_back_to_the_one_before_it(store, write, client, bucket, tmp_path):
    older, newer = write((1, 0), (2, 0))
    sent(store, older, newer)
    client.put_object(Bucket=bucket, Key=f"trainings/candidate/fold_0/{newer.name}", Body=b"changed")
    told = []
    found, _ = fetch_newer(store, tmp_path / "there", than=None, on_rejected=told.append)
    assert found.name == older.name
    assert [f"s3://{bucket}/trainings/candidate/fold_0/{newer.name}: digest is" in line for line in told] == [True]
    assert not (tmp_path / "there" / newer.name).exists()
    assert store.names() == [older.name], "what is damaged there is out of the way of those to come"


def test_a_copy_whose_digest_never_arrived_does_not_count(store, write, client, bucket):
    (path,) = write((1, 0))
    client.upload_file(str(path), bucket, f"trainings/candidate/fold_0/{path.name}")
    assert store.names() == []


def test_a_checkpoint_is_sent_although_its_folder_dropped_it_meanwhile(store, write, monkeypatch):
    (path,) = write((1, 0))
    put = store.put

    def late(kept, *, name):
        checkpoint_files.drop(path)
        put(kept, name=name)

    monkeypatch.setattr(store, "put", late)
    sent(store, path)
    assert not path.exists()
    assert list(path.parent.glob(".sending-*")) == []


def test_sending_does_not_wait_for_a_slow_store_and_skips_what_is_outdated(store, write, monkeypatch):
    put, arrived = store.put, []

    def slow(kept, *, name):
        time.sleep(0.5)
        put(kept, name=name)
        arrived.append(name)

    monkeypatch.setattr(store, "put", slow)
    background = BackgroundCopies(store)
    paths = write(*((epoch, 0) for epoch in range(1, 9)))
    began = time.monotonic()
    for path in paths:
        background.send(path)
    took = time.monotonic() - began
    assert background.close(timeout_s=30)
    assert took < 0.5, "the store takes half a second for each"
    assert arrived[-1] == paths[-1].name
    assert len(arrived) <= 2


def test_a_store_that_is_away_is_tried_again_and_stops_nothing(store, write, monkeypatch):
    monkeypatch.setattr(checkpoint_sync, "_RETRY_S", 0.05)
    put, failures = store.put, []

    def away(kept, *, name):
        if len(failures) < 3:
            failures.append(name)
            raise CopyFailedError(name, reason="connection refused")
        put(kept, name=name)

    monkeypatch.setattr(store, "put", away)
    (path,) = write((1, 0))
    sent(store, path)
    assert failures == [path.name] * 3


def test_a_store_that_cannot_be_reached_leaves_training_what_lies_here(credentials, tmp_path):
    nowhere = CheckpointStore("s3://bucket", endpoint="http://127.0.0.1:9", prefix="fold_0")
    told = []
    assert fetch_newer(nowhere, tmp_path, than=None, on_rejected=told.append) is None
    assert len(told) == 1
    assert told[0].startswith("copies of checkpoints are not looked at: s3://bucket/fold_0/")


@pytest.mark.parametrize("bucket", ["no-such-bucket", "bk"])
def test_a_store_that_will_never_take_anything_is_refused_before_training(bucket, s3_server, credentials, tmp_path):
    refusing = CheckpointStore(f"s3://{bucket}", endpoint=s3_server, prefix="fold_0")
    with pytest.raises(StoreRefusedError, match=f"s3://{bucket}/fold_0/: .*; expected a store"):
        fetch_newer(refusing, tmp_path, than=None, on_rejected=pytest.fail)


def test_that_the_last_checkpoint_did_not_get_there_is_told(store, write, monkeypatch):
    def away(_, *, name):
        raise CopyFailedError(name, reason="connection refused")

    monkeypatch.setattr(store, "put", away)
    background = BackgroundCopies(store)
    background.send(*write(None))
    assert background.close(timeout_s=30) is False


@pytest.mark.parametrize("url", ["", "folder", "gs://bucket", "s3://", "/mnt/checkpoints"])
def test_a_store_that_is_no_bucket_is_refused(url):
    with pytest.raises(InvalidValueError, match="expected s3://bucket"):
        CheckpointStore(url, endpoint=None, prefix="fold_0")


def test_what_a_killed_sender_left_is_cleared(write):
    (path,) = write((1, 0))
    for name in (f".sending-{path.name}", f".partial-abc-{path.name}"):
        (path.parent / name).write_bytes(b"half")
    clear_unsent(path.parent)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, f"{path.name}.sha256"}
