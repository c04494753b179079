"""Arguments of programs: what is wrong with them is a line like every other error, of either form."""

import json
import subprocess
import sys

import pytest

from spine.settings import child_environment

PROGRAMS = ("components.prepare_dataset", "components.plan_training", "components.serve_model")


def called(program, *arguments, form):
    return subprocess.run(
        [sys.executable, "-m", program, *arguments],
        env=child_environment(SPINELINE_LOG_FORMAT=form),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_unknown_argument_is_one_object_where_logs_are_json(program):
    done = called(program, "--odd", form="json")
    (line,) = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, done.stdout, line["level"]) == (2, "", "ERROR")
    assert line["message"].startswith("error: ")


def test_where_logs_are_text_the_usage_stands_above_the_error():
    done = called("components.plan_training", form="text")
    first, *_, last = done.stderr.splitlines()
    assert done.returncode == 2 and first.startswith("usage: python -m components.plan_training")
    assert last.startswith("error: the following arguments are required: ")
