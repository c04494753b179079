"""Jobs: their progress and results, how they are cancelled, whose they are, and how long they stay."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from components.serve_model.errors import CancelledScanError
from components.serve_model.limits import Limits
from components.serve_model.tokens import digest_of

WHO = {"actor": "ann", "reason": "for tests"}
ASYNC = {"Prefer": "respond-async"}


class Gate:
    """Holds predictions at their first windows until opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from components.serve_model.engine import LiveModel

        self.opened, self.reached = threading.Event(), threading.Event()
        decode = LiveModel.decode

        def held(model, scan, *, on_progress=None):
            def told(done: int, of: int) -> None:
                on_progress(done, of)
                if done:
                    self.reached.set()
                    assert self.opened.wait(30)
                    on_progress(done, of)

            return decode(model, scan, on_progress=told)

        monkeypatch.setattr(LiveModel, "decode", held)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch):
    made = Gate(monkeypatch)
    yield made
    made.opened.set()


@pytest.fixture
def start(serve, registry_with_two_versions) -> Callable[..., object]:
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)

    def started(**arguments):
        server = serve(registry_with_two_versions.root, **arguments)
        server.wait_for(1)
        return server

    return started


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.yaml"
    roles = {"rita": "reader", "ron": "reader", "otto": "operator"}
    lines = [f"- {{name: {name}, role: {role}, sha256: {digest_of(name)}}}" for name, role in roles.items()]
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return path


def ended(server, place: str, **headers: str) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while (job := server.client.get(place, headers=headers).json())["state"] in ("queued", "running", "cancelling"):
        assert time.monotonic() < deadline, job
        time.sleep(0.02)
    return job


def test_a_job_gives_what_the_synchronous_answer_gives(start, scan_bytes) -> None:
    server = start()
    accepted = server.segment(scan_bytes, **ASYNC)
    assert accepted.status_code == 202
    assert accepted.headers["preference-applied"] == "respond-async"
    place = accepted.headers["location"]
    assert accepted.json()["id"] in place
    job = ended(server, place)
    assert job["state"] == "done", job
    assert job["windows"]["done"] == job["windows"]["of"] > 0
    assert (job["mask"], job["report"]) == (f"{place}/mask", f"{place}/report")
    for kind, wanted in (("mask", "*/*"), ("report", "application/json")):
        answer = server.client.get(job[kind])
        assert answer.content == server.segment(scan_bytes, Accept=wanted).content
        assert answer.headers["x-spineline-version"] == "1"
    assert {path.name for path in server.files()} == {"mask.nii.gz", "report.json"}
    assert server.client.delete(place).status_code == 204
    assert server.client.get(place).status_code == 404
    assert server.files() == []


def test_progress_moves_and_a_result_that_is_not_there_yet_is_told(start, scan_bytes, gate) -> None:
    server = start()
    place = server.segment(scan_bytes, **ASYNC).headers["location"]
    assert gate.reached.wait(20)
    job = server.client.get(place).json()
    assert (job["state"], job["stage"]) == ("running", "predicting")
    assert 0 < job["windows"]["done"] < job["windows"]["of"]
    refused = server.client.get(f"{place}/mask")
    assert refused.status_code == 409
    assert "running" in refused.json()["error"]
    gate.opened.set()
    assert ended(server, place)["state"] == "done"


def test_a_cancelled_job_ends_and_gives_its_place_back(start, scan_bytes, gate) -> None:
    server = start(limits=Limits(waiting=2, workers=1))
    running, queued = (server.segment(scan_bytes, **ASYNC).headers["location"] for _ in range(2))
    assert gate.reached.wait(20)
    assert server.client.get(queued).json()["state"] == "queued"
    assert server.segment(scan_bytes, **ASYNC).status_code == 503
    for place in (queued, running):
        cancelled = server.client.delete(place)
        assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelling")
    # Its worker is held at its windows: it has not ended, which its maker can tell.
    told = server.client.get(running).json()
    assert (told["state"], told["ended_at"]) == ("cancelling", None)
    gate.opened.set()
    told = ended(server, running)
    assert told["state"] == "cancelled"
    assert told["ended_at"] is not None
    server.wait_until(lambda: server.files() == [], told="the cancelled jobs' files to go")
    assert server.client.get(f"{running}/mask").status_code == 409
    assert server.client.delete(running).status_code == 204
    assert server.client.get(running).status_code == 404
    assert server.segment(scan_bytes).status_code == 200


def test_what_its_header_rules_out_becomes_no_job(start, scan_bytes) -> None:
    server = start(limits=Limits(memory_bytes=1_000_000))
    for content, status in ((b"no scan", 400), (scan_bytes, 413)):
        refused = server.segment(content, **ASYNC)
        assert refused.status_code == status, refused.text
        assert "location" not in refused.headers
    server.wait_until(lambda: server.files() == [], told="the uploads to go")


def test_a_job_that_fails_says_why(start, scan_bytes) -> None:
    server = start()
    place = server.segment(scan_bytes[:-100], **ASYNC).headers["location"]
    job = ended(server, place)
    assert job["state"] == "failed"
    assert "NIfTI" in job["error"]
    assert server.client.get(f"{place}/report").status_code == 409
    assert server.files() == []


def test_only_who_made_a_job_and_operators_see_it(start, scan_bytes, tokens) -> None:
    server = start(tokens=tokens)

    def ask(method: str, place: str, who: str) -> int:
        return server.client.request(method, place, headers={"Authorization": f"Bearer {who}"}).status_code

    assert server.segment(scan_bytes, **ASYNC).status_code == 401
    place = server.segment(scan_bytes, **ASYNC, Authorization="Bearer rita").headers["location"]
    ended(server, place, Authorization="Bearer rita")
    for path in (place, f"{place}/mask", f"{place}/report"):
        assert [ask("GET", path, who) for who in ("rita", "ron", "otto", "nobody")] == [200, 404, 200, 401]
    assert ask("DELETE", place, "ron") == 404
    assert ask("DELETE", place, "rita") == 204


def test_results_stay_for_a_bounded_time_and_on_bounded_room(start, scan_bytes) -> None:
    size = None
    server = start(limits=Limits(results=2))
    places = []
    for _ in range(3):
        places.append(server.segment(scan_bytes, **ASYNC).headers["location"])
        ended(server, places[-1])
        size = size or sum(path.stat().st_size for path in server.files())
    assert [server.client.get(place).status_code for place in places] == [410, 200, 200]
    assert len(server.files()) == 4
    small = start(limits=Limits(result_bytes=int(size * 1.5), result_s=1.0))
    places = []
    for _ in range(2):
        places.append(small.segment(scan_bytes, **ASYNC).headers["location"])
        ended(small, places[-1])
    assert small.client.get(places[0]).status_code == 410
    assert "sent again" in small.client.get(places[0]).json()["error"]
    assert len(small.files()) == 2
    # Nobody asks: the files go by themselves.
    small.wait_until(lambda: small.files() == [], told="the results to go")
    assert small.client.get(places[1]).status_code == 410


def test_a_job_is_lost_with_its_server_and_told_so(start, scan_bytes) -> None:
    first, second = start(), start()
    place = first.segment(scan_bytes, **ASYNC).headers["location"]
    answer = second.client.get(place)
    assert answer.status_code == 404
    assert "since the server was started" in answer.json()["error"]


def test_the_work_of_a_client_that_left_is_called_off(start, scan_bytes, gate) -> None:
    server = start(limits=Limits(waiting=1))
    with (
        httpx.Client(base_url=server.client.base_url, timeout=httpx.Timeout(30, read=1.0), trust_env=False) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post("/v1/segmentations", content=scan_bytes)
    gate.opened.set()
    server.wait_until(lambda: server.files() == [], told="the desk to be cleared")
    assert server.segment(scan_bytes).status_code == 200


def test_a_progress_that_was_called_off_ends_its_worker() -> None:
    from components.serve_model.scan_progress import ScanProgress

    progress = ScanProgress()
    progress.on_windows(1, 4)
    progress.cancel()
    for step in (lambda: progress.on_windows(2, 4), lambda: progress.enter("writing")):
        with pytest.raises(CancelledScanError):
            step()
    assert progress.windows == (1, 4)
