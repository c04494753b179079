"""A server under load while what it serves changes again and again."""

import threading
import time

import httpx
import pytest

from model_registry.promotion import promote, roll_back

pytestmark = pytest.mark.slow
CLIENTS = 3
WHO = {"actor": "ann", "reason": "for tests"}
Answer = tuple[float, float, int, str]


class _Client(threading.Thread):
    """Asks one scan after the other and keeps when, and what came back."""

    def __init__(self, url: str, scan: bytes) -> None:
        super().__init__(daemon=True)
        self._url, self._scan = url, scan
        self.stop = threading.Event()
        self.answers: list[Answer] = []

    def run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60, trust_env=False) as client:
            while not self.stop.is_set():
                began = time.monotonic()
                try:
                    answer = client.post("/v1/segmentations", content=self._scan)
                    status, version = answer.status_code, answer.headers.get("x-spineline-version", answer.text)
                except httpx.HTTPError as error:
                    status, version = 0, repr(error)
                self.answers.append((began, time.monotonic(), status, version))


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.soak)])
def test_promotions_and_rollbacks_lose_no_request_and_every_answer_is_of_a_version_live_meanwhile(
    registry, make_server, golden, scan, rounds
):
    server = make_server(registry.root)
    server.wait_for(1)
    clients = [_Client(server.url, scan) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    spans = [(0.0, float("inf"), 1)]
    for _ in range(rounds):
        for version in (2, 1):
            asked = time.monotonic()
            if version == 2:
                change = promote(registry, 2, **WHO, golden=golden, deadline_s=30)
            else:
                change = roll_back(registry, None, **WHO, golden=None, deadline_s=30)
            assert [report.version for report in change.following] == [version]
            # The switch lies between asking and hearing of it: both versions count as live in between.
            spans[-1] = (spans[-1][0], time.monotonic(), spans[-1][2])
            spans.append((asked, float("inf"), version))
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(60)
    answers = [answer for client in clients for answer in client.answers]
    assert [answer for answer in answers if answer[2] != 200] == []
    assert {version for *_, version in answers} == {"1", "2"}
    strange = [
        (began, ended, version)
        for began, ended, _, version in answers
        if not any(str(live) == version and start <= ended and began <= end for start, end, live in spans)
    ]
    assert strange == []
    assert server.version() == registry.state().serving == 1
