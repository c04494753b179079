"""A promoter or a server that is killed at any step: afterwards all agree, or `status` says how not and repairs it."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from model_registry.errors import ReplicasBehindError
from model_registry.promotion import Change, promote
from spine.errors import SpinelineError
from spine.settings import settings

pytestmark = pytest.mark.slow
WHO = {"actor": "ann", "reason": "for tests"}

_PROMOTER = """
import os, signal, sys
from components.promote_model import main
from model_registry import aliases
from pipelines.cli.app import run

step = sys.argv[1]
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def then_die(work):
    def both(*given, **named):
        work(*given, **named)
        die()
    return both
if step == "before the link":
    os.link = die
elif step == "after the link":
    os.link = then_die(os.link)
elif step == "before aliases":
    aliases.mirror_soon = die
elif step == "within aliases":
    from mlflow import MlflowClient
    MlflowClient.set_registered_model_alias = then_die(MlflowClient.set_registered_model_alias)
    aliases.mirror_soon = aliases.mirror
elif step == "after aliases":
    aliases.mirror_soon = then_die(aliases.mirror_soon)
else:
    main._Stages.begin = lambda self, stage: die() if stage == step else None
sys.exit(run(["promote", "2", "--reason", "a test"]))
"""

_SERVER = """
import os, signal, sys
from components.serve_model import engine, main
from model_registry.replicas import Replicas

def at(owner, name, wanted, *, after=False):
    work = getattr(owner, name)
    def patched(*given, **named):
        if wanted(*given, **named) and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = work(*given, **named)
        if wanted(*given, **named):
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, patched)

step, arguments = sys.argv[1], sys.argv[2:]
if step == "prepare":
    at(engine.Engine, "prepare", lambda self, registry, version: version == 2)
elif step == "golden case":
    at(engine, "check_golden_case", lambda segmenter, bundle, version: version == 2)
elif step == "before the switch":
    at(engine.Engine, "switch", lambda self, model: model.version == 2)
elif step == "after the switch":
    at(engine.Engine, "switch", lambda self, model: model.version == 2, after=True)
elif step == "report":
    at(Replicas, "write", lambda self, report: report.version == 2)
sys.exit(main.main(arguments))
"""

PROMOTER_STEPS = [
    "digests", "verdict", "golden case", "event", "before the link", "after the link", "servers", "before aliases",
    "within aliases", "after aliases",
]  # fmt: skip
SAMPLE = ["golden case", "before the link", "after the link", "within aliases"]
ON_THE_RECORD = PROMOTER_STEPS[PROMOTER_STEPS.index("after the link") :]


@pytest.fixture
def in_mlflow(registry):
    """Both versions in MLflow, whose aliases follow the ledger."""
    from model_registry.mlflow_store import MlflowStore

    store = MlflowStore(
        settings().mlflow_uri, artifacts=registry.root / "mlflow" / "artifacts", model_name=settings().model_name
    )
    run = store.candidate_run("t", name="t")
    for number, known in sorted(registry.state().versions.items()):
        store.create_version(
            run_id=run, source=registry.location(registry.bundle(number)), digest=known.model_digest, tags={}
        )
    store.mirror(registry.state(), events=registry.history())
    return store


@pytest.fixture
def status(capsys):
    """A function that runs ``spineline status`` and returns how the ledger, the aliases and the servers differ."""
    import json

    from pipelines.cli.app import run

    def differences(*arguments):
        capsys.readouterr()
        code = run(["status", "--json", *arguments])
        found = json.loads(capsys.readouterr().out)["differences"]
        assert code == (1 if found else 0)
        return found

    return differences


@pytest.mark.parametrize("steps", [SAMPLE, pytest.param(PROMOTER_STEPS, marks=pytest.mark.soak)], ids=["some", "all"])
def test_a_promoter_killed_at_any_step_leaves_what_agrees_or_is_told_and_repaired(
    registry, in_mlflow, make_server, status, scan, steps
):
    server = make_server(registry.root)
    server.wait_for(1)
    for step in steps:
        done = subprocess.run([sys.executable, "-c", _PROMOTER, step], capture_output=True, text=True, timeout=200)
        assert done.returncode == -9, (step, done.stdout, done.stderr)
        expected = 2 if step in ON_THE_RECORD else 1
        assert registry.state().serving == expected, step
        server.wait_for(expected)
        told = status()
        follows = in_mlflow.aliases()["champion"] == expected
        assert follows != any("alias champion" in line for line in told), (step, told)
        assert status("--repair") == [], step
        assert in_mlflow.aliases()["champion"] == expected
        assert server.segment(scan).headers["x-spineline-version"] == str(expected)
        if expected == 2:
            registry.roll_back(to=1, **WHO)
            in_mlflow.mirror(registry.state(), events=registry.history())
            server.wait_for(1)
    leftovers = [path.name for path in Path(registry.root / "ledger").iterdir() if path.suffix != ".json"]
    assert all(name.startswith(".partial-") for name in leftovers)


class _Promoting(threading.Thread):
    """A promotion of version 2 that keeps what came of it."""

    def __init__(self, registry, golden, *, deadline_s):
        super().__init__(daemon=True)
        self._work = lambda: promote(registry, 2, **WHO, golden=golden, deadline_s=deadline_s)
        self.outcome: Change | SpinelineError | None = None

    def run(self):
        try:
            self.outcome = self._work()
        except SpinelineError as error:
            self.outcome = error


@pytest.mark.parametrize(
    "step",
    [
        "golden case", "after the switch",
        *(pytest.param(step, marks=pytest.mark.soak) for step in ("prepare", "before the switch", "report")),
    ],
)  # fmt: skip
def test_a_server_killed_at_any_step_follows_once_it_is_back(registry, make_server, golden, status, monkeypatch, step):
    server = make_server(registry.root, "-c", _SERVER, step)
    server.wait_for(1)
    promoting = _Promoting(registry, golden, deadline_s=120)
    promoting.start()
    assert server.process.wait(60) == -9
    with monkeypatch.context() as long_silent:
        long_silent.setattr("model_registry.replicas.FRESH_S", 0.1)
        promoting.join(1)
    assert promoting.is_alive(), "a server that the version killed is not waited for"
    server.start()
    promoting.join(120)
    assert isinstance(promoting.outcome, Change), promoting.outcome
    assert [report.version for report in promoting.outcome.following] == [2]
    assert server.version() == registry.state().serving == 2
    assert status() == []


def test_a_version_that_kills_a_server_for_good_is_taken_back_and_status_tells_of_the_silent_one(
    registry, make_server, golden, status, monkeypatch
):
    server = make_server(registry.root, "-c", _SERVER, "golden case")
    server.wait_for(1)
    with pytest.raises(ReplicasBehindError, match="rolled back automatically with event .*, version 1 is in use"):
        promote(registry, 2, **WHO, golden=golden, deadline_s=8)
    assert server.process.wait(60) == -9
    monkeypatch.setattr("model_registry.replicas.FRESH_S", 1.0)
    assert any(re.search(rf"-{server.port}-\w+ has said nothing since", line) for line in status())
    assert status("--repair") == []
    assert registry.replicas().reports() == []
    server.start()
    server.wait_for(1)
