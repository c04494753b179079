"""Processes that start at once, are killed, or lose their server: everything arrives, and nothing twice."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from spine.journal import Entry
from spine.settings import child_environment

pytestmark = pytest.mark.slow

SHIPPER = """
import sys
from pathlib import Path
from model_registry.tracking import LiveTracking

folder, uri = Path(sys.argv[1]), sys.argv[2]

def open_store():
    from model_registry.mlflow_store import MlflowStore
    return MlflowStore(uri, artifacts=folder / "artifacts", model_name="m")

journals = {fold: folder / f"fold_{fold}" / "journal.jsonl" for fold in (0, 1)}
with LiveTracking(folder, candidate_name="demo", journals=journals, open_store=open_store, period_s=0.02) as tracking:
    sys.stdin.read()
    sys.exit(min(tracking.close(60), 100))
"""
OUTAGE_S = 12.0


@contextmanager
def shipper(candidate, uri: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that tracks until its stdin is closed, and ends with how many entries it left."""
    environment = child_environment(MLFLOW_HTTP_REQUEST_MAX_RETRIES="2", MLFLOW_HTTP_REQUEST_TIMEOUT="10")
    process = subprocess.Popen(
        [sys.executable, "-c", SHIPPER, str(candidate.folder), uri], stdin=subprocess.PIPE, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def finished(process: subprocess.Popen[bytes]) -> int:
    assert process.stdin
    process.stdin.close()
    return process.wait(120)


@pytest.fixture(params=["database", "server"])
def uri(request, candidate) -> str:
    return request.getfixturevalue("server").uri if request.param == "server" else candidate.uri


def test_two_processes_that_start_at_once_make_one_run(candidate, uri):
    candidate.train(1, 10)
    with shipper(candidate, uri) as first, shipper(candidate, uri) as second:
        candidate.await_epoch(10)
        candidate.train(11, 20)
        assert [finished(first), finished(second)] == [0, 0]
    candidate.assert_drawn_once(20)


def test_a_killed_process_is_followed_by_one_that_goes_on(candidate, uri):
    moments = random.Random(1)
    for first in (1, 201, 401):
        with shipper(candidate, uri):
            candidate.train(first, first)
            candidate.await_epoch(first)
            candidate.train(first + 1, first + 199)
            time.sleep(moments.uniform(0.0, 0.4))
    with shipper(candidate, uri) as last:
        assert finished(last) == 0
    candidate.assert_drawn_once(600)


def test_training_through_an_outage_of_the_server_arrives_whole(candidate, server):
    """The server is killed amid training and comes back on the same database."""
    with shipper(candidate, server.uri) as tracking:
        epoch, killed_at = 0, None
        while killed_at is None or time.monotonic() - killed_at < OUTAGE_S:
            epoch += 1
            candidate.train(epoch, epoch)
            time.sleep(0.05)
            if epoch == 20:
                candidate.await_epoch(20)
            if epoch == 25:
                server.kill()
                killed_at = time.monotonic()
        assert max(candidate.steps(candidate.folds[0])) <= 25 < epoch
        server.start()
        candidate.await_epoch(epoch, within_s=120)
        assert finished(tracking) == 0
    candidate.assert_drawn_once(epoch)


def test_values_on_which_a_server_turns_a_whole_request_down_are_left_out_alone(candidate, server):
    """A server refuses a request above a million bytes, and one with a single bad point."""
    store = candidate.store(server.uri)
    run = store.candidate_run("abc", name="demo")
    points = [
        Entry(time_s=time_s, metrics={"loss": 0.5}, step=step) for step, time_s in ((1, 1.0), (2, -5.0), (3, 3.0))
    ]
    store.send(run, [*points, Entry(time_s=4.0, parameters={f"p{number}": "é" * 7000 for number in range(100)})])
    assert candidate.steps(run) == [1, 3]
    assert len(candidate.client.get_run(run).data.params) == 100
