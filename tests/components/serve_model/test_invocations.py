"""MLflow's scoring contract: the forms of a table with one column of scans, and what else is refused."""

import base64
import json
from typing import Any

import pytest

from components.serve_model.errors import MalformedInvocationError, TooLargeError
from components.serve_model.invocations import require_few_values, scans_of
from components.serve_model.limits import Limits

WHO = {"actor": "ann", "reason": "for tests"}
A, B = (base64.b64encode(content).decode() for content in (b"first", b"second"))


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["scan"], "index": [0, 1], "data": [[A], [B]]}},
        {"dataframe_records": [{"scan": A}, {"scan": B}], "params": {}},
        {"instances": [{"scan": A}, B]},
        {"inputs": {"scan": [A, B]}},
        {"inputs": [A, B]},
    ],
)
def test_each_form_of_mlflow_holds_the_scans_in_order(body: dict[str, Any]) -> None:
    assert scans_of(json.dumps(body).encode()) == [b"first", b"second"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff", "no JSON"),
        ([], "known forms"),
        ({}, "known forms"),
        ({"inputs": [A], "instances": [A]}, "known forms"),
        ({"inputs": [A], "more": 1}, "known forms"),
        ({"inputs": [A], "params": {"mirroring": True}}, "params"),
        ({"inputs": []}, "no scan"),
        ({"inputs": {"path": ["/etc/passwd"]}}, "path"),
        ({"dataframe_records": [{"scan": A, "path": "/etc/passwd"}]}, "path"),
        ({"dataframe_split": {"columns": ["path"], "data": [["/etc/passwd"]]}}, "shape"),
        ({"dataframe_split": {"columns": ["scan"], "data": [[A, A]]}}, "shape"),
        ({"dataframe_split": [A]}, "shape"),
        ({"dataframe_records": {"scan": A}}, "shape"),
        ({"dataframe_records": [A]}, "shape"),
        ({"inputs": A}, "shape"),
        ({"inputs": [3]}, "base64 in row 0"),
        ({"instances": [A, "no base64!"]}, "base64 in row 1"),
        ({"instances": ["é"]}, "base64 in row 0"),
    ],
)
def test_whatever_else_is_refused_in_one_line(body: Any, told: str) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(MalformedInvocationError, match=told) as refused:
        scans_of(content)
    assert "\n" not in str(refused.value)
    assert "passwd" not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        b'{"inputs":[' + b"{}," * 100_000 + b"{}]}",
        b'{"dataframe_split":{"columns":["scan"],"index":[' + b"0," * 100_000 + b'0],"data":[["QQ=="]]}}',
        b'{"inputs":' + b"[" * 100_000,
        ('{"inputs":[' + "0," * 100_000 + "0]}").encode("utf-16"),
    ],
    ids=["rows", "index", "nested", "UTF-16"],
)
def test_a_body_of_far_more_values_than_scans_is_refused_unparsed(content: bytes, tmp_path) -> None:
    body = tmp_path / "body"
    body.write_bytes(content)
    with pytest.raises(TooLargeError, match="too many values; expected at most 16 scans"):
        require_few_values(body, most_scans=16)


def test_a_full_table_holds_few_enough_values(tmp_path) -> None:
    body = tmp_path / "body"
    rows = {"dataframe_split": {"columns": ["scan"], "index": list(range(16)), "data": [[A]] * 16}, "params": {}}
    for content in (rows, {"dataframe_records": [{"scan": A}] * 16}):
        body.write_text(json.dumps(content))
        require_few_values(body, most_scans=16)


@pytest.fixture
def server(serve, registry_with_two_versions):
    registry_with_two_versions.promote(1, **WHO, expected_serving=None)
    started = serve(registry_with_two_versions.root, limits=Limits(invocation_scans=2, invocation_bytes=200_000))
    started.wait_for(1)
    return started


def test_invocations_answer_as_segmentations_do(server, scan_bytes) -> None:
    cell = base64.b64encode(scan_bytes).decode()
    answer = server.client.post("/invocations", json={"dataframe_split": {"columns": ["scan"], "data": [[cell]] * 2}})
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-spineline-version"] == "1"
    first, second = answer.json()["predictions"]
    assert first == second
    assert base64.b64decode(first["mask"]) == server.segment(scan_bytes).content
    assert json.loads(first["report"]) == server.segment(scan_bytes, Accept="application/json").json()
    assert server.files() == []


def test_what_is_refused_names_the_row_and_leaves_nothing(server, scan_bytes) -> None:
    good, bad = (base64.b64encode(content).decode() for content in (scan_bytes, b"no scan"))
    for body, status, told in (
        ({"inputs": [good, bad]}, 400, "row 1"),
        ({"inputs": [good] * 3}, 413, "3 scans"),
        ({"inputs": ["QQ=="] * 300}, 413, "too many values"),
        ({"inputs": ["A" * 300_000]}, 413, "too large"),
        ({"inputs": {"path": ["/etc/passwd"]}}, 400, "path"),
    ):
        answer = server.client.post("/invocations", json=body)
        assert (answer.status_code, told in answer.json()["error"]) == (status, True), answer.text
    csv = server.client.post("/invocations", content=b"scan\n", headers={"Content-Type": "text/csv"})
    assert csv.status_code == 415
    assert server.files() == []


def test_ping_says_whether_a_version_is_loaded(server, serve, tmp_path) -> None:
    assert server.client.get("/ping").status_code == 200
    assert serve(tmp_path / "empty").client.get("/ping").status_code == 503
