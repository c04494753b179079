"""What exit codes and last words are taken to mean."""

import json
import subprocess
import sys

import pytest

from components.train_folds.outcome import decisive, log_tail, reason_of
from spine.settings import child_environment


@pytest.mark.parametrize(
    ("codes", "code"), [((0, 0), 0), ((1, -9), -9), ((-6, 2), 2), ((130, 1), 130), ((0, 1), 1), ((130, -9), -9)]
)
def test_the_code_that_tells_most_decides(codes, code):
    assert decisive(codes) == code


def test_a_reason_is_one_line_of_bearable_length():
    reason = reason_of(1, "Traceback\n" + "x" * 5000 + "\n\n")
    assert len(reason) == 600 and reason.endswith("…")
    assert reason_of(-99, "") == "killed by signal 99"


def test_the_reason_of_a_fold_that_logs_json_is_what_it_said(tmp_path):
    log = tmp_path / "training.log"
    command = [sys.executable, "-m", "components.train_folds.fold"]
    given = {"--root": str(tmp_path), "--plan": "no record", "--training": "{}", "--fold": "3"}
    with log.open("wb") as stream:
        code = subprocess.run(
            [*command, *(word for pair in given.items() for word in pair)],
            stdout=stream,
            stderr=stream,
            env=child_environment(SPINELINE_LOG_FORMAT="json", SPINELINE_RUN="run-1"),
        ).returncode
    line = json.loads(log.read_text().splitlines()[-1])
    assert (line["run"], line["fold"], line["level"]) == ("run-1", 3, "ERROR")
    told = "plan: not a sealed record; expected Plan"
    assert reason_of(code, log_tail(log, since=0)) == told
    assert log_tail(log, since=0) == f"error: {told}"
