"""The program as a process: where it announces itself, how it ends, and what it says of a port that is taken."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from components.serve_model.server_info import (
    ServerInfo,
    announce,
    own_announcement,
    running_server,
    served_version,
    sole_server,
    withdraw,
)
from components.serve_model.token_changes import make_token

WHO = {"actor": "ann", "reason": "for tests"}


def start(root: Path, *, port: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "components.serve_model", "--root", str(root), "--port", str(port)]
    environment = {**os.environ, "SPINELINE_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=Path.cwd()
    )


def wait_for_server(root: Path, *, version: int | None) -> ServerInfo:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        info = running_server(root)
        if info is not None and served_version(info) == version:
            return info
        time.sleep(0.05)
    raise AssertionError("the server did not come up")


@pytest.mark.slow
def test_a_server_announces_itself_finishes_its_requests_on_sigterm_and_withdraws(
    registry_with_two_versions, scan_bytes
) -> None:
    root = registry_with_two_versions.root
    registry_with_two_versions.promote(2, **WHO, expected_serving=None)
    assert running_server(root) is None
    process = start(root)
    try:
        info = wait_for_server(root, version=2)
        assert info.pid == process.pid
        answers: list[int] = []

        def slow_body():
            yield scan_bytes[:100]
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            yield scan_bytes[100:]

        def ask() -> None:
            with httpx.Client(base_url=info.url, timeout=30, trust_env=False) as client:
                answers.append(client.post("/v1/segmentations", content=slow_body()).status_code)

        client = threading.Thread(target=ask)
        client.start()
        client.join(30)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert answers == [200]
    assert process.returncode == 0, stderr
    assert not (root / "serving" / "server.json").exists()
    assert running_server(root) is None
    assert registry_with_two_versions.replicas().reports() == []
    assert "Traceback" not in stderr


def test_a_port_that_is_taken_is_told_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, port=port)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert stderr.startswith(f"error: port {port} on 127.0.0.1: address already in use")
    assert stderr.count("\n") == 1
    assert not (tmp_path / "serving" / "server.json").exists()


def test_only_an_announcement_of_ones_own_is_withdrawn(tmp_path: Path) -> None:
    mine = ServerInfo(pid=os.getpid(), host="127.0.0.1", port=1, url="http://127.0.0.1:1", started_at="now")
    announce(tmp_path, mine)
    withdraw(tmp_path, mine.model_copy(update={"port": 2}))
    assert (tmp_path / "serving" / "server.json").is_file()
    withdraw(tmp_path, mine)
    assert not (tmp_path / "serving" / "server.json").exists()


def test_a_second_server_below_a_root_is_refused_and_the_first_ones_announcement_stays(tmp_path: Path) -> None:
    mine = ServerInfo(pid=os.getpid(), host="127.0.0.1", port=1, url="http://127.0.0.1:1", started_at="now")
    with sole_server(tmp_path):
        announce(tmp_path, mine)
        command = [sys.executable, "-m", "components.serve_model", "--root", str(tmp_path), "--port", "0"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert told.returncode == 2
        assert f"a server runs already, at http://127.0.0.1:1 (pid {os.getpid()}); expected a root" in told.stderr
        assert own_announcement(tmp_path) == mine
    with sole_server(tmp_path):
        pass


def test_a_dead_process_or_another_server_on_the_port_is_no_server_of_ours(tmp_path: Path, serve) -> None:
    server = serve(tmp_path)
    port = server.client.base_url.port
    url = f"http://127.0.0.1:{port}"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid, is_ours in ((ended.pid, False), (os.getppid(), False), (os.getpid(), True)):
        announce(tmp_path, ServerInfo(pid=pid, host="127.0.0.1", port=port, url=url, started_at="now"))
        assert (running_server(tmp_path) is not None) == is_ours
    (tmp_path / "serving" / "server.json").write_text("{")
    assert running_server(tmp_path) is None


def test_a_command_can_look_for_a_server_without_the_heavy_libraries() -> None:
    modules = "import components.serve_model.server_info, components.serve_model.main, sys; "
    heavy = "print([name for name in ('torch', 'nnunetv2', 'fastapi', 'uvicorn') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", modules + heavy], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def refused(root: Path, *arguments: str, **environment: str) -> str:
    """Run the program where it must not start, and return the one line that it says."""
    command = [sys.executable, "-m", "components.serve_model", "--root", str(root), "--port", "0", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment})
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert not (root / "serving" / "server.json").exists()
    return told.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_it_is_not_served_to_others_without_tokens_by_mistake(tmp_path: Path, host: str) -> None:
    told = refused(tmp_path, "--host", host)
    assert told.startswith(f"error: host is '{host}', which others reach, without tokens; expected SPINELINE_TOKENS")


def test_tokens_that_cannot_be_used_are_told_by_the_entrys_name(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text("- name: ann\n  role: boss\n  sha256: abc\n")
    tokens.chmod(0o600)
    told = refused(tmp_path, SPINELINE_TOKENS=str(tokens))
    assert f"{tokens}: entry 'ann': role: Input should be 'reader', 'approver' or 'operator'" in told
    assert "not found" in refused(tmp_path, SPINELINE_TOKENS=str(tmp_path / "absent.yaml"))
    told = refused(tmp_path, "--without-tokens", SPINELINE_TOKENS=str(tokens))
    assert "--without-tokens" in told


@pytest.mark.slow
@pytest.mark.parametrize("has_tokens", [True, False])
def test_it_is_served_to_others_with_tokens_or_where_that_is_said(tmp_path: Path, has_tokens: bool) -> None:
    tokens, root = tmp_path / "tokens.yaml", tmp_path / "root"
    token = make_token(tokens, name="ann", role="reader", lasts=None)
    given = [] if has_tokens else ["--without-tokens"]
    environment = {"SPINELINE_TOKENS": str(tokens)} if has_tokens else {}
    command = [sys.executable, "-m", "components.serve_model", "--root", str(root), "--port", "0", "--host", "0.0.0.0"]
    process = subprocess.Popen(
        [*command, "--audit", "stdout", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        deadline = time.monotonic() + 40
        while (info := running_server(root)) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with httpx.Client(base_url=info.url, trust_env=False) as client:
            statuses = [
                client.get("/v1/versions", headers=headers).status_code
                for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {token}"})
            ]
            assert statuses == ([401, 401, 200] if has_tokens else [200, 200, 200])
            answer = client.get("/healthz")
            assert "server" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            large = client.get("/healthz", headers={"X-Large": "x" * 200_000})
            assert large.status_code in (400, 431)
            assert client.get("/healthz").status_code == 200
        process.terminate()
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line["route"] == "/v1/versions"] == statuses
    assert {line["caller"] for line in lines if line["status"] == 200 and line["route"] == "/v1/versions"} == {
        "ann" if has_tokens else "anonymous"
    }
    assert token not in stdout + stderr
    assert not (root / "serving" / "audit").exists()
