"""A blob store on S3 alone: stores that are away, refuse, lose answers, or overwrite what is created only if absent."""

from collections.abc import Callable
from pathlib import Path

import pytest

from spine.blob_store import BlobStore, BlobStoreError, BlobStoreUnreachableError
from spine.blob_stores import open_blob_store
from spine.errors import InvalidValueError


def test_a_whole_bucket_has_no_neighbour(bucket: str, s3_server: str) -> None:
    blob_store = open_blob_store(f"s3://{bucket}", endpoint=s3_server)
    assert blob_store.create("a", b"x")
    assert list(blob_store.listed()) == ["a"]
    with pytest.raises(InvalidValueError, match="others lie beside it"):
        blob_store.neighbour("replicas")


@pytest.mark.parametrize(
    ("bucket_name", "endpoint", "told"),
    [("no-such-bucket", None, "NoSuchBucket"), ("b0cket", "http://127.0.0.1:9", "Could not connect")],
)
def test_a_store_that_is_away_is_told_in_one_line(
    bucket_name: str, endpoint: str | None, told: str, s3_server: str, credentials: None, tmp_path: Path
) -> None:
    blob_store = open_blob_store(f"s3://{bucket_name}/x", endpoint=endpoint or s3_server)
    (tmp_path / "file").write_text("x")
    attempts: list[Callable[[], object]] = [
        blob_store.listed,
        lambda: blob_store.create("a", b"x"),
        lambda: blob_store.send("a", tmp_path / "file"),
    ]
    for attempt in attempts:
        with pytest.raises(BlobStoreUnreachableError, match=told) as raised:
            attempt()
        assert "\n" not in str(raised.value)
        assert str(raised.value).startswith(f"s3://{bucket_name}/x")


def test_no_keys_and_a_bad_endpoint_are_told_in_one_line(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidValueError, match="S3 endpoint is 'localhost 9000'"):
        open_blob_store(f"s3://{bucket}/x", endpoint="localhost 9000").listed()
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(BlobStoreUnreachableError, match="Unable to locate credentials"):
        open_blob_store(f"s3://{bucket}/x", endpoint=s3_server).listed()


@pytest.fixture
def harmed(bucket: str, relay: Callable[..., tuple[str, list[str]]]) -> Callable[..., tuple[BlobStore, list[str]]]:
    """A function of ``(relay, status, headers, body) -> whether to answer`` that gives a blob store behind it."""

    def behind(harm: Callable[..., bool]) -> tuple[BlobStore, list[str]]:
        class Harmful(relay.Relay):  # type: ignore[name-defined, misc]
            def answer(self) -> None:
                self.seen.append(f"{self.command} {self.path}")
                if harm(self):
                    self.give(*self.passed_on())

        endpoint, seen = relay(Harmful)
        return open_blob_store(f"s3://{bucket}/ledger", endpoint=endpoint), seen

    return behind


def test_a_store_that_overwrites_is_refused_before_it_can_lose_anything(harmed: Callable[..., object]) -> None:
    def ignoring(relay: object) -> bool:
        del relay.headers["If-None-Match"]  # type: ignore[attr-defined]
        return True

    blob_store, _ = harmed(ignoring)  # type: ignore[misc]
    for _ in range(2):
        with pytest.raises(BlobStoreError, match="overwrites .*; expected a store that honours If-None-Match"):
            blob_store.create("a", b"x")
    assert blob_store.listed() == {}


def test_that_a_store_creates_only_if_absent_is_asked_once(harmed: Callable[..., object]) -> None:
    blob_store, seen = harmed(lambda relay: True)  # type: ignore[misc]
    for number in range(3):
        assert blob_store.create(f"{number}", b"x")
    assert len([line for line in seen if "create-if-absent" in line]) == 2
    assert len(seen) == 5


def losing(left: list[int]) -> Callable[..., bool]:
    """Harm that lets the store do as asked and then drops the line, as often as ``left`` says."""

    def harm(relay: object) -> bool:
        if relay.command != "PUT" or not relay.path.endswith("/a") or not left[0]:  # type: ignore[attr-defined]
            return True
        left[0] -= 1
        relay.passed_on()  # type: ignore[attr-defined]
        relay.close_connection = True  # type: ignore[attr-defined]
        return False

    return harm


@pytest.mark.parametrize("lost", [1, 3], ids=["one answer", "every answer"])
def test_of_a_lost_answer_the_writer_learns_that_it_won(harmed: Callable[..., object], lost: int) -> None:
    left = [lost]
    blob_store, _ = harmed(losing(left))  # type: ignore[misc]
    assert blob_store.create("a", b"ours")
    assert left == [0]
    assert blob_store.read("a") == b"ours"
    assert not blob_store.create("a", b"theirs")


@pytest.mark.parametrize("lost", [1, 3], ids=["one answer", "every answer"])
def test_of_a_lost_answer_the_writer_learns_that_it_lost(harmed: Callable[..., object], lost: int) -> None:
    left = [0]
    blob_store, _ = harmed(losing(left))  # type: ignore[misc]
    assert blob_store.create("a", b"theirs")
    left[0] = lost
    assert not blob_store.create("a", b"ours")
    assert left == [0]
    assert blob_store.read("a") == b"theirs"


@pytest.mark.parametrize("conflicts", [2, 99])
def test_an_undecided_store_is_asked_again_for_a_while(
    harmed: Callable[..., object], conflicts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spine.s3_blob_store._UNDECIDED_PAUSE_S", 0.0)
    left = [conflicts]

    def undecided(relay: object) -> bool:
        if relay.command != "PUT" or not relay.path.endswith("/a") or not left[0]:  # type: ignore[attr-defined]
            return True
        left[0] -= 1
        body = b"<Error><Code>ConditionalRequestConflict</Code><Message>again</Message></Error>"
        relay.rfile.read(int(relay.headers["Content-Length"]))  # type: ignore[attr-defined]
        relay.give(409, {"Content-Type": "application/xml"}, body)  # type: ignore[attr-defined]
        return False

    blob_store, _ = harmed(undecided)  # type: ignore[misc]
    if conflicts == 2:
        assert blob_store.create("a", b"x")
    else:
        with pytest.raises(BlobStoreUnreachableError, match="the store answered ConditionalRequestConflict"):
            blob_store.create("a", b"x")


def test_a_refusal_is_not_told_as_being_away(harmed: Callable[..., object]) -> None:
    def refusing(relay: object) -> bool:
        relay.rfile.read(int(relay.headers.get("Content-Length") or 0))  # type: ignore[attr-defined]
        relay.give(403, {}, b"<Error><Code>AccessDenied</Code></Error>")  # type: ignore[attr-defined]
        return False

    blob_store, _ = harmed(refusing)  # type: ignore[misc]
    with pytest.raises(BlobStoreError, match="the store answered AccessDenied") as raised:
        blob_store.listed()
    assert not isinstance(raised.value, BlobStoreUnreachableError)
