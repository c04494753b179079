"""The OpenAPI document is true: schemathesis asks the real server whatever the document allows, and what it forbids."""

import json
import re
import subprocess
import sys

import pytest

from components.serve_model.limits import Limits
from components.serve_model.tokens import digest_of
from model_registry.segmentation_report import FLAG_NAMES

WHO = {"actor": "ann", "reason": "for tests"}
OPEN = {"/healthz", "/readyz", "/metrics"}


@pytest.fixture
def server(serve, registry_with_two_versions, tmp_path):
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    tokens = tmp_path / "tokens.yaml"
    tokens.write_text(f"- {{name: rita, role: reader, sha256: {digest_of('secret')}}}\n")
    tokens.chmod(0o600)
    started = serve(registry_with_two_versions.root, limits=Limits(upload_bytes=400_000), tokens=tokens)
    started.wait_for(1)
    started.client.headers["Authorization"] = "Bearer secret"
    return started


def test_every_route_is_documented_with_its_answers_and_role(server) -> None:
    document = server.client.get("/openapi.json").json()
    assert {
        "/v1/segmentations",
        "/v1/segmentations/{job}",
        "/v1/segmentations/{job}/mask",
        "/v1/segmentations/{job}/report",
        "/v1/model",
        "/invocations",
        "/ping",
        *OPEN,
    } <= set(document["paths"])
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["description"], (method, path)
            # FastAPI's own answer of a malformed parameter is not what this server gives.
            assert "HTTPValidationError" not in str(operation), (method, path)
            assert ("security" in operation) == (path not in OPEN), (method, path)
            assert ("401" in operation["responses"]) == (path not in OPEN), (method, path)
    body = document["paths"]["/v1/segmentations"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/octet-stream", "multipart/form-data"}
    told = json.dumps(document["components"]["schemas"])
    assert [name for name in FLAG_NAMES if f"- `{name}`: " not in told] == []


def test_the_document_needs_no_network(server) -> None:
    assert server.client.get("/docs").status_code == 404
    assert "http" not in str(server.client.get("/openapi.json").json().get("servers", ""))


@pytest.mark.slow
def test_the_server_answers_as_the_document_says(server, scan_bytes) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.client.base_url}/openapi.json"),
        *("--header", "Authorization: Bearer secret", "--checks", "all"),
        # Random bytes are no scan: 400 is right for nearly all that the document allows.
        *("--exclude-checks", "positive_data_acceptance"),
        *("--phases", "examples,coverage,fuzzing", "--mode", "all"),
        *("--max-examples", "8", "--seed", "1", "--generation-deterministic", "--no-color", "--workers", "1"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"(\d+) generated, \1 passed", ran.stdout), ran.stdout
    assert server.segment(scan_bytes).status_code == 200
    server.wait_until(lambda: server.files() == [], told="every upload to go")
