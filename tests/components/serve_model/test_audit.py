"""The audit log: a line a request that says who asked for what, and nothing of a patient."""

import json
import os
import re
import resource
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient

from components.serve_model.access import Caller, Guard
from components.serve_model.audit import REQUEST_ID, AuditTrail
from components.serve_model.audit_file import AuditFile, AuditStdout
from components.serve_model.errors import ServeError
from components.serve_model.token_changes import make_token
from components.serve_model.tokens import Tokens

PATIENT = "doe-john-19480301"
HEX_ID = "0123456789abcdef" * 2
UUID = "01234567-89ab-cdef-0123-456789abcdef"


class Asked:
    """An app behind the audit trail, and the lines that it wrote."""

    def __init__(self, tokens: Path) -> None:
        self.token = make_token(tokens, name="ann", role="reader", lasts=None)
        self.lines: list[dict[str, object]] = []
        self.counted: list[tuple[str, int]] = []
        guard = Guard(Tokens(tokens))
        app = FastAPI()

        @app.exception_handler(ServeError)
        async def refused(_: Request, error: ServeError) -> Response:
            return Response(str(error), status_code=error.status, headers=error.headers)

        @app.post("/v1/things/{thing}")
        async def thing(request: Request, _: Annotated[Caller, Depends(guard.needs("reader"))]) -> Response:
            await request.body()
            return Response("done", headers={"X-Spineline-Version": "3"})

        @app.get("/v1/locked")
        async def locked(_: Annotated[Caller, Depends(guard.needs("operator"))]) -> None: ...

        @app.get("/v1/broken")
        async def broken() -> None:
            raise RuntimeError(PATIENT)

        app.add_middleware(
            AuditTrail,
            write=lambda line: self.lines.append(json.loads(line)),
            count=lambda route, status: self.counted.append((route, status)),
        )
        self.client = TestClient(app, raise_server_exceptions=False)

    def send(self, method: str, path: str, *, known: bool = True, **more: object) -> Response:
        headers = {**({"Authorization": f"Bearer {self.token}"} if known else {}), **more.pop("headers", {})}
        return self.client.request(method, path, headers=headers, **more)


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path / "tokens.yaml")


def test_a_line_says_who_asked_for_what_and_how_it_went(asked: Asked) -> None:
    answer = asked.send("POST", "/v1/things/7", content=b"x" * 1234)
    (line,) = asked.lines
    assert set(line) == {
        "at", "request_id", "caller", "role", "method", "route", "status", "version", "bytes_in", "milliseconds",
    }  # fmt: skip
    assert (line["caller"], line["role"], line["method"]) == ("ann", "reader", "POST")
    assert (line["route"], line["status"], line["version"]) == ("/v1/things/{thing}", 200, 3)
    assert line["bytes_in"] == 1234
    assert line["milliseconds"] > 0
    assert line["request_id"] == answer.headers[REQUEST_ID]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["at"])
    assert asked.counted == [("/v1/things/{thing}", 200)]


def test_refused_unknown_and_failed_requests_have_their_line_too(asked: Asked) -> None:
    asked.send("POST", "/v1/things/7", known=False)
    asked.send("GET", "/v1/locked")
    asked.send("GET", f"/{PATIENT}")
    asked.send("GET", "/v1/things/7")
    asked.send("BREW", "/v1/locked")
    asked.send("GET", "/v1/broken")
    told = [(line["caller"], line["method"], line["route"], line["status"]) for line in asked.lines]
    assert told == [
        (None, "POST", "/v1/things/{thing}", 401),
        ("ann", "GET", "/v1/locked", 403),
        (None, "GET", "unknown", 404),
        (None, "GET", "/v1/things/{thing}", 405),
        (None, "other", "/v1/locked", 405),
        (None, "GET", "/v1/broken", 500),
    ]


def test_nothing_that_a_client_sends_comes_into_a_line(asked: Asked) -> None:
    asked.send(
        "POST",
        f"/v1/things/{PATIENT}?name={PATIENT}",
        headers={REQUEST_ID: PATIENT, "X-Name": PATIENT, "User-Agent": PATIENT, "Cookie": f"p={PATIENT}"},
        files={"file": (f"{PATIENT}.nii.gz", PATIENT.encode())},
    )
    asked.send("GET", f"/v1/{PATIENT}", headers={"Host": PATIENT})
    asked.send(PATIENT.upper(), "/v1/locked")
    asked.send("POST", "/v1/things/1", headers={"Authorization": f"Bearer {PATIENT}"})
    assert len(asked.lines) == 4
    assert PATIENT not in json.dumps(asked.lines).lower()
    assert asked.token not in json.dumps(asked.lines)


@pytest.mark.parametrize("given", [HEX_ID, UUID, UUID.upper()])
def test_a_request_id_that_is_a_uuid_is_kept(asked: Asked, given: str) -> None:
    assert asked.send("GET", "/v1/locked", headers={REQUEST_ID: given}).headers[REQUEST_ID] == given
    assert asked.lines[0]["request_id"] == given


@pytest.mark.parametrize(
    "given",
    ["", "1", PATIENT, HEX_ID + "0", HEX_ID[:-1], UUID[:-1] + "\u00e9", UUID.replace("-", "", 1), f"{UUID},{UUID}"],
)
def test_any_other_request_id_is_replaced(asked: Asked, given: str) -> None:
    answered = asked.send("GET", "/v1/locked", headers={REQUEST_ID: given.encode("latin-1")}).headers[REQUEST_ID]
    assert re.fullmatch("[0-9a-f]{32}", answered)
    assert answered != given
    assert asked.lines[0]["request_id"] == answered


def test_answers_say_that_nothing_is_guessed_or_kept(asked: Asked) -> None:
    for method, path in (("POST", "/v1/things/1"), ("GET", "/v1/locked"), ("GET", "/none")):
        headers = asked.send(method, path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


@pytest.fixture
def lost() -> list[int]:
    return []


def lines_of(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def audit_file(folder: Path, lost: list[int], **more: int) -> AuditFile:
    return AuditFile(folder, on_lost=lambda: lost.append(1), **more)


def test_a_full_file_is_renamed_and_the_oldest_go(tmp_path: Path, lost: list[int]) -> None:
    log = audit_file(tmp_path / "audit", lost, limit_bytes=100, kept=3)
    for number in range(60):
        log.write(json.dumps({"number": number}))
    log.close()
    files = sorted(path.name for path in (tmp_path / "audit").iterdir())
    assert files[-1] == "audit.jsonl"
    assert len(files) == 4
    numbers = [line["number"] for line in lines_of(tmp_path / "audit")]
    assert numbers == list(range(numbers[0], 60))
    assert all(path.stat().st_size < 100 + 20 for path in (tmp_path / "audit").iterdir())
    assert (tmp_path / "audit" / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    assert not lost


def test_servers_that_share_a_folder_lose_no_line(tmp_path: Path) -> None:
    pids = []
    for writer in range(3):
        pid = os.fork()
        if pid == 0:
            lost: list[int] = []
            log = audit_file(tmp_path / "audit", lost, limit_bytes=500, kept=1000)
            for number in range(200):
                log.write(json.dumps({"writer": writer, "number": number}))
            os._exit(len(lost))
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    told = [(line["writer"], line["number"]) for line in lines_of(tmp_path / "audit")]
    assert sorted(told) == [(writer, number) for writer in range(3) for number in range(200)]


def test_a_full_disk_is_told_once_and_costs_no_request(
    tmp_path: Path, lost: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    log = audit_file(tmp_path / "audit", lost)
    log.write('{"number": 0}')
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    # The kernel's limit on a file's size cuts a write short and then refuses it, as a full disk does.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        for number in range(1, 4):
            log.write(json.dumps({"number": number}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert len(lost) == 3
    assert len(caplog.records) == 1
    log.write('{"number": 4}')
    log.close()
    lines = (tmp_path / "audit" / "audit.jsonl").read_text().splitlines()
    assert (lines[0], lines[-1]) == ('{"number": 0}', '{"number": 4}')
    assert len(lines) == 3, "the line that was cut off spoils no other"


def test_a_line_that_a_killed_server_cut_off_is_ended_first(tmp_path: Path, lost: list[int]) -> None:
    (tmp_path / "audit.jsonl").write_text('{"number": 0}\n{"numb')
    log = audit_file(tmp_path, lost)
    log.write('{"number": 1}')
    assert (tmp_path / "audit.jsonl").read_text().splitlines() == ['{"number": 0}', '{"numb', '{"number": 1}']


def test_a_folder_that_is_taken_away_is_made_again(tmp_path: Path, lost: list[int]) -> None:
    log = audit_file(tmp_path / "audit", lost)
    log.write("{}")
    (tmp_path / "audit" / "audit.jsonl").rename(tmp_path / "elsewhere")
    (tmp_path / "audit").rmdir()
    (tmp_path / "audit").write_text("a file")
    log.write("{}")
    assert len(lost) == 1
    (tmp_path / "audit").unlink()
    log.write("{}")
    assert (tmp_path / "audit" / "audit.jsonl").read_text() == "{}\n"


def test_lines_go_to_stdout_where_that_is_asked_for(capsys: pytest.CaptureFixture[str], lost: list[int]) -> None:
    AuditStdout(on_lost=lambda: lost.append(1)).write('{"number": 1}')
    assert capsys.readouterr().out == '{"number": 1}\n'
