"""The program as a process: where it announces itself, how it ends, and what it says of a port that is taken."""

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

from components.serve_model.presence import ServerInfo, announce, running_server, served_version, withdraw

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
    modules = "import components.serve_model.presence, components.serve_model.program, sys; "
    heavy = "print([name for name in ('torch', 'nnunetv2', 'fastapi', 'uvicorn') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", modules + heavy], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
