"""Pulling from S3: moto's server speaks the protocol; servers of our own break off in mid-answer."""

import http.server
import itertools
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from components.pull_dataset.fetching import PARALLEL
from spine.errors import DigestMismatchError, InvalidValueError
from spine.objects import ObjectUnavailableError, StoreUnreachableError, open_store

PROJECT = Path(__file__).resolve().parents[3]


def test_a_data_set_is_pulled_from_s3_through_an_endpoint(pull, root, bucket, s3_server, listing):
    record = pull(remote=f"s3://{bucket[1]}/sets/spine/", endpoint=s3_server)
    folder = root / record.folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(listing)


def test_an_object_that_is_missing_on_s3_is_named(published, root, pull, bucket, s3_server, listing):
    client, name = bucket
    md5 = listing["manifest.json"]
    key = f"sets/spine/files/md5/{md5[:2]}/{md5[2:]}"
    client.delete_object(Bucket=name, Key=key)
    with pytest.raises(ObjectUnavailableError, match=f"s3://{name}/{key}: the store answered 404"):
        pull(remote=f"s3://{name}/sets/spine", endpoint=s3_server)
    assert not (published.home_below(root, published.second) / "data").exists()


def test_a_damaged_object_on_s3_is_named_by_its_hash(pull, bucket, s3_server, listing):
    client, name = bucket
    md5 = listing["manifest.json"]
    client.put_object(Bucket=name, Key=f"sets/spine/files/md5/{md5[:2]}/{md5[2:]}", Body=b"{}")
    with pytest.raises(DigestMismatchError, match=md5):
        pull(remote=f"s3://{name}/sets/spine", endpoint=s3_server)


def test_an_unknown_bucket_is_named(pull, s3_server, credentials):
    with pytest.raises(ObjectUnavailableError, match=r"s3://no-such-bucket/sets/files/md5/.*: the store answered 404"):
        pull(remote="s3://no-such-bucket/sets", endpoint=s3_server)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request with 403, as S3 does where keys don't allow it."""

    def do_HEAD(self):
        self.send_response(403)
        self.end_headers()

    do_GET = do_HEAD

    def log_message(self, *_):
        pass


class BreakingOff(Refusing):
    """Promises 1000 bytes and sends ten."""

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.send_header("ETag", '"x"')
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(b"0123456789")


def test_a_forbidden_bucket_is_named(pull, credentials, answering):
    with pytest.raises(ObjectUnavailableError, match=r"s3://theirs/sets/files/md5/.*: the store answered 403"):
        pull(remote="s3://theirs/sets", endpoint=answering(Refusing))


def test_a_connection_that_breaks_off_again_and_again_is_told(tmp_path, credentials, answering):
    arrived = b""
    store = open_store("s3://bucket/sets", endpoint=answering(BreakingOff), relative_to=tmp_path)
    with pytest.raises(
        ObjectUnavailableError, match=r"s3://bucket/sets/files/md5/ab/cd: broke off 4 times, last after 10 b"
    ):
        for block in store.blocks("files/md5/ab/cd"):
            arrived += bytes(block)
    assert arrived == b"0123456789"


def test_an_endpoint_where_nobody_answers_is_told(pull, credentials):
    with pytest.raises(ObjectUnavailableError, match=r"Could not connect to the endpoint URL"):
        pull(remote="s3://bucket/sets", endpoint="http://127.0.0.1:9")


def test_missing_keys_are_told(pull, monkeypatch, credentials, s3_server):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ObjectUnavailableError, match="Unable to locate credentials"):
        pull(remote="s3://bucket/sets", endpoint=s3_server)


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_body_that_breaks_off_is_taken_up_where_it_was(published, root, pull, counting, listing, knows_ranges):
    broken = set()

    def half_at_first(key, content):
        if key in broken:
            return content
        broken.add(key)
        return content[: len(content) // 2]

    counting.content, counting.knows_ranges = half_at_first, knows_ranges
    folder = root / pull(remote=counting.remote, endpoint=counting.endpoint).folder
    for path, md5 in listing.items():
        whole = published.object(md5).read_bytes()
        assert (folder / path).read_bytes() == whole
        assert [start for key, start in counting.asked if key == counting.key(md5)] == [0, len(whole) // 2]


def test_a_second_revision_fetches_only_what_the_first_has_not(published, pull, counting):
    pull("v1", remote=counting.remote, endpoint=counting.endpoint)
    first = {key for key, _ in counting.asked}
    counting.asked.clear()
    pull("v2", remote=counting.remote, endpoint=counting.endpoint)
    second = [key for key, _ in counting.asked]
    new = {row["md5"] for row in published.listed(published.second)} | {published.hashes[published.second]}
    assert sorted(second) == sorted({counting.key(md5) for md5 in new} - first)
    assert len(second) < len(new)


def test_an_object_is_asked_for_once_and_an_unchanged_revision_not_at_all(pull, counting):
    record = pull(remote=counting.remote, endpoint=counting.endpoint)
    keys = [key for key, _ in counting.asked]
    assert len(keys) == len(set(keys))
    counting.asked.clear()
    assert pull(remote=counting.remote, endpoint=counting.endpoint) == record
    assert counting.asked == []


def test_two_pulls_at_once_fetch_once(pull, counting):
    given = {"remote": counting.remote, "endpoint": counting.endpoint}
    with ThreadPoolExecutor(2) as pool:
        first, second = [pool.submit(pull, **given) for _ in range(2)]
    assert first.result() == second.result()
    keys = [key for key, _ in counting.asked]
    assert len(keys) == len(set(keys))


def test_a_pull_that_was_killed_goes_on_where_it_was(published, root, pull, counting, listing):
    reached, go_on = threading.Event(), threading.Event()
    served = itertools.count()

    def stall(_, content):
        if next(served) < 8:
            return content
        reached.set()
        go_on.wait(60)
        return content

    counting.content = stall
    arguments = ["--root", root, "--repository", published.repository, "--remote", counting.remote]
    environment = {**os.environ, "SPINELINE_S3_ENDPOINT": counting.endpoint}
    command = [sys.executable, "-m", "components.pull_dataset", *map(str, arguments)]
    with subprocess.Popen(command, env=environment, cwd=PROJECT, stderr=subprocess.DEVNULL) as pulling:
        assert reached.wait(60)
        objects = root / "objects" / "md5"
        while len([path for path in objects.rglob("*") if path.is_file()]) < 8:
            time.sleep(0.01)
        pulling.kill()
    go_on.set()
    assert list((root / "objects").glob(".partial-*/*"))
    whole = {path.parent.name + path.name for path in objects.rglob("*") if path.is_file()}
    times = {md5: (objects / md5[:2] / md5[2:]).stat().st_mtime_ns for md5 in whole}
    counting.asked.clear()
    counting.content = lambda _, content: content
    record = pull(remote=counting.remote, endpoint=counting.endpoint)
    assert {key for key, _ in counting.asked} == {counting.key(md5) for md5 in {*listing.values()} - whole}
    assert {md5: (objects / md5[:2] / md5[2:]).stat().st_mtime_ns for md5 in whole} == times
    for path, md5 in listing.items():
        assert (root / record.folder / path).read_bytes() == published.object(md5).read_bytes()
    assert not list((root / "objects").glob(".partial-*"))


def test_a_store_that_shuts_in_mid_pull_ends_it_at_once(published, root, pull, counting):
    served = itertools.count()
    counting.content = lambda _, content: content if next(served) < 3 else None
    with pytest.raises(StoreUnreachableError, match="the store answered 403 InvalidAccessKeyId"):
        pull(remote=counting.remote, endpoint=counting.endpoint)
    # Sixteen at once, each asked for in two ways at most.
    assert len(counting.asked) <= 3 + 2 * PARALLEL
    assert not (published.home_below(root, published.second) / "data").exists()


def test_the_endpoint_of_the_repository_s_configuration_is_used_and_one_that_is_given_wins(published, pull, counting):
    config = published.repository / ".dvc" / "config"

    def point_to(endpoint):
        config.write_text(
            f"[core]\n    remote = s3\n['remote \"s3\"']\n    url = {counting.remote}\n    endpointurl = {endpoint}\n"
        )
        published.commit(endpoint)

    point_to(counting.endpoint)
    assert pull("HEAD").cases == 7
    assert counting.asked
    point_to("http://127.0.0.1:9")
    assert pull("v1", remote=counting.remote, endpoint=counting.endpoint).cases == 6


def test_an_endpoint_that_is_no_url_is_told(pull, credentials):
    with pytest.raises(InvalidValueError, match="S3 endpoint is 'minio'; expected a URL"):
        pull(remote="s3://bucket/sets", endpoint="minio")
