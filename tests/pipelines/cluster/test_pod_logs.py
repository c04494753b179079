"""What the end of a log says of a failure, in the forms in which steps, kfp's launcher and its drivers write."""

import json

import pytest

from pipelines.cluster.pod_logs import LogEvidence, driver_fault_in, evidence_in, readable_lines

TRACEBACK = 'Traceback (most recent call last):\n  File "/x.py", line 3, in step\n'
FATAL = "F1130 22:40:59.2      20 main.go:51] failed to execute component: "
EXIT = f"{FATAL}exit status 1\nError: exit status 1\n"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        (f"{TRACEBACK}ModuleNotFoundError: No module named 'numba'\n{EXIT}", ("No module named 'numba'", False, "")),
        (f"pull_dataset: error: revision is 'x'\n{TRACEBACK}a.B: b\n{EXIT}", ("revision is 'x'", False, "")),
        (f"pull_dataset: transient error: s3://a: no answer\n{EXIT}", ("s3://a: no answer", True, "")),
        (f"epoch 3\n{FATAL}signal: killed\nError: exit status 1\n", ("", False, "killed")),
        (f"{FATAL}failed to upload s3://a: dial tcp: i/o timeout\n", ("failed to upload", True, "")),
        (f"{FATAL}failed to upload s3://a: AccessDenied\n", ("AccessDenied", False, "")),
        (EXIT, ("", False, "")),
        ("", ("", False, "")),
    ],
    ids=["exception", "reported", "transient", "killed", "launcher, passes", "launcher, stays", "exit only", "empty"],
)
def test_the_reason_is_read_from_the_end_of_the_log(log, expected):
    found = evidence_in(readable_lines(log))
    assert expected[0] in found.message and (found.is_transient, found.signal) == expected[1:]


def test_an_exception_in_a_json_line_is_found():
    line = json.dumps({"level": "CRITICAL", "message": "ValueError: x", "exception": f"{TRACEBACK}ValueError: bad"})
    assert evidence_in(readable_lines(f"{line}\n{EXIT}")) == LogEvidence(message="ValueError: bad")


@pytest.mark.parametrize(
    ("reason", "passes"),
    [("KFP driver: rpc error: code = Unavailable desc = connection error", True), ("KFP driver: pvc not found", False)],
)
def test_a_drivers_fatal_line_is_its_reason(reason, passes):
    found = driver_fault_in(["I1130 main.go:119] x", f"F1130 22:24:14.2       1 main.go:127] {reason}"])
    assert (found.message, found.is_transient) == (reason, passes)
