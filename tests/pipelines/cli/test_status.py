"""What `status` says, and mends, where MLflow can't be asked."""

import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from model_registry.lifecycle import Registry
from model_registry.replicas import ReplicaReport
from spine.settings import settings


@pytest.fixture
def registry(root, monkeypatch):
    """A registry with an MLflow by the settings, and without its library, as in the image of a server."""
    monkeypatch.setenv("SPINELINE_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "model_registry.mlflow_store", None)
    root.mkdir()
    return Registry.at(root, settings())


def reported(registry, name, *, silent_s):
    at = (datetime.now(UTC) - timedelta(seconds=silent_s)).isoformat(timespec="milliseconds")
    told = {"event": 0, "event_digest": None, "golden_dice": None, "failure": None, "ledger_problem": None}
    registry.replicas().write(ReplicaReport(name=name, url="", pid=1, version=None, at=at, **told))


def test_an_mlflow_that_can_not_be_asked_is_a_difference(registry, spineline):
    told = spineline("status", "--json")
    (difference,) = json.loads(told.out)["differences"]
    assert told.code == 1 and difference.startswith("MLflow could not be asked: ")
    assert "differences: none" not in spineline("status").out


def test_silent_servers_are_forgotten_even_where_mlflow_can_not_be_told_and_that_is_said(registry, spineline):
    reported(registry, "killed", silent_s=3600)
    reported(registry, "alive", silent_s=0)
    told = spineline("status", "--repair")
    assert told.code == 2
    forgot, error = told.err.splitlines()
    assert forgot == "forgot server killed, which is silent"
    assert "library is not installed" in error
    assert [report.name for report in registry.replicas().reports()] == ["alive"]
