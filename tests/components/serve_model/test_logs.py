"""What a server logs as JSON: uvicorn's lines too, with the version that they are about, and nothing of a patient."""

import json
import os
import signal
import subprocess
import sys
import time

import httpx
import pytest

from components.serve_model.server_info import running_server, served_version


@pytest.mark.slow
def test_every_line_is_an_object_and_those_of_a_version_name_it(registry_with_two_versions, scan_bytes) -> None:
    root = registry_with_two_versions.root
    registry_with_two_versions.promote(2, actor="ann", reason="for tests", expected_serving=None)
    process = subprocess.Popen(
        [sys.executable, "-m", "components.serve_model", "--root", root, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SPINELINE_LOG_FORMAT": "json", "SPINELINE_THREADS": "1", "SPINELINE_RUN": "serve-1"},
    )
    try:
        deadline = time.monotonic() + 60
        while (info := running_server(root)) is None or served_version(info) != 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with httpx.Client(base_url=info.url, timeout=60, trust_env=False) as client:
            upload = {"file": ("DOE^JANE-19700101.nii.gz", scan_bytes)}
            assert client.post("/v1/segmentations", files=upload).status_code == 200
            assert client.post("/v1/segmentations", content=b"DOE^JANE").status_code in (400, 422)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    lines = [json.loads(line) for line in stderr.splitlines()]
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)
    assert {line["run"] for line in lines} == {"serve-1"}
    assert "uvicorn.error" in {line["logger"] for line in lines}
    assert 2 in [line.get("version") for line in lines if "is live" in line["message"]]
    assert "DOE" not in stderr and "JANE" not in stderr
