"""Lines of commands on a cluster where logs are JSON: each names the run, as the lines of its pods do."""

import json
import logging
import sys

import pytest

from spine.log_lines import JsonLine
from spine.settings import settings
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at


@pytest.fixture
def json_lines(monkeypatch):
    """Logs as JSON in this process, as a program's setup would have them."""

    class Stderr(logging.StreamHandler):
        def emit(self, record):
            sys.stderr.write(self.format(record) + "\n")

    handler = Stderr()
    handler.setFormatter(JsonLine())
    logger = logging.getLogger("spineline")
    logger.addHandler(handler)
    monkeypatch.setattr(logger, "level", logging.INFO)
    monkeypatch.setenv("SPINELINE_LOG_FORMAT", "json")
    settings.cache_clear()
    yield lambda told: [json.loads(line) for line in told.err.splitlines()]
    logger.removeHandler(handler)


def test_a_run_that_is_started_and_followed_is_named(kfp, submit, json_lines):
    kfp.script = [at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"})), at("FAILED", error="quota")]
    told = json_lines(submit("--unchecked"))
    assert len(told) > 2 and {line.get("run") for line in told} == {kfp.runs[0].run_id}


@pytest.mark.parametrize("command", ["follow", "retry"])
def test_a_run_that_is_there_is_named(kfp, submit, spineline, profile, json_lines, command):
    kfp.script = [at("FAILED", error="quota")]
    assert submit("--detach").code == 0
    told = json_lines(spineline(command, kfp.runs[0].run_id, "--profile", profile))
    assert told and {line.get("run") for line in told} == {kfp.runs[0].run_id}
