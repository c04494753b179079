"""`serve --detach`: it returns when the version in use answers, and takes no running server for another one."""

import os
import socket
import subprocess

import pytest

from components.serve_model.server_info import ServerInfo, served_version
from pipelines.server_process import await_ready, require_place, start_detached, stop_server
from spine.errors import SpinelineError, StepFailedError


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_it_returns_when_the_version_in_use_answers_and_refuses_another_port(
    root, registry_with_two_versions, spineline, port
):
    registry_with_two_versions.promote(2, actor="ann", reason="for tests", expected_serving=None)
    try:
        started = spineline("serve", "--detach", "--port", port)
        assert started.code == 0, started.err
        assert f"version 2: serving at http://127.0.0.1:{port}" in started.out
        info = start_detached(root, host="127.0.0.1", port=port)
        assert served_version(info) == 2
        other = spineline("serve", "--detach", "--port", port + 1)
        assert other.code == 2
        told = f"a server runs already, at {info.url} (pid {info.pid}); expected 127.0.0.1:{port + 1}, or"
        assert told in other.error
        assert spineline("serve", "--detach").code == 0
    finally:
        assert stop_server(root)


@pytest.mark.slow
def test_without_a_promoted_version_it_returns_at_once_and_says_so(root, spineline, port):
    try:
        started = spineline("serve", "--detach", "--port", port)
        assert (started.code, started.err) == (0, "")
        assert "no version answers before one is promoted" in started.out
    finally:
        assert stop_server(root)


def test_a_server_that_has_ended_or_never_gets_ready_is_told(tmp_path):
    here = ServerInfo(pid=os.getpid(), host="127.0.0.1", port=9, url="http://127.0.0.1:9", started_at="now")
    told = []
    with pytest.raises(StepFailedError, match="has no version loaded after 0 s; log: .*server.log"):
        await_ready(tmp_path, here, on_wait=told.append, timeout_s=0.1)
    assert told == ["the version in use is being loaded and checked (0 s)"]
    killed = subprocess.Popen(["sleep", "60"])
    killed.kill()
    with pytest.raises(StepFailedError, match="has ended after . s; log: .*server.log"):
        await_ready(tmp_path, here.model_copy(update={"pid": killed.pid}), on_wait=told.append)


@pytest.mark.parametrize(
    ("host", "port", "fits"), [(None, None, True), ("h", 1, True), ("h", 2, False), ("i", 1, False)]
)
def test_only_what_was_asked_for_must_fit(tmp_path, host, port, fits):
    info = ServerInfo(pid=1, host="h", port=1, url="http://h:1", started_at="now")
    try:
        require_place(info, tmp_path, host=host, port=port)
    except SpinelineError as error:
        assert not fits
        assert str(error).count("\n") == 0
    else:
        assert fits
