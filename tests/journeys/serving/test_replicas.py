"""Two servers on machines of their own: one ledger, one model store, two caches."""

import os
import shutil
import subprocess
import sys

import pytest

from model_registry.errors import ReplicasBehindError
from model_registry.lifecycle import Registry
from model_registry.promotion import promote
from spine.settings import Settings

pytestmark = pytest.mark.slow
WHO = {"actor": "ann", "reason": "for tests"}
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def shared(tmp_path, make_bundle):
    """A registry with two approved versions whose ledger and bundles lie in folders that both machines reach."""
    services = Settings(ledger=str(tmp_path / "shared" / "ledger"), model_store=str(tmp_path / "shared" / "models"))
    (tmp_path / "shared").mkdir()
    registry = Registry.at(tmp_path / "root", services)
    for version in (1, 2):
        bundle = make_bundle(registry.root / "versions" / str(version), seed=version)
        registry.register(version=version, bundle=bundle, actor="ann", reason="for tests")
        registry.approve(version, actor="ben", reason="for tests")
    registry.promote(1, **WHO, expected_serving=None)
    return registry, {"SPINELINE_LEDGER": services.ledger, "SPINELINE_MODEL_STORE": services.model_store}


def test_a_version_that_one_server_cannot_load_is_rolled_back_on_the_record(shared, make_server, golden, tmp_path):
    registry, places = shared
    poor = shutil.copytree(tmp_path / "shared" / "models", tmp_path / "poor")
    shutil.rmtree(next(poor.glob(registry.state().version(2).model_digest.removeprefix("sha256:")[:12])))
    good = make_server(tmp_path / "a", **places)
    bad = make_server(tmp_path / "b", **{**places, "SPINELINE_MODEL_STORE": str(poor)})
    for server in (good, bad):
        server.wait_for(1)
    with pytest.raises(ReplicasBehindError, match=rf"{bad.port}-\w+ has version 1: .*rolled back automatically"):
        promote(registry, 2, **WHO, golden=golden, deadline_s=120)
    last = registry.history()[-1]
    assert (last.kind, last.actor, last.from_version, last.to_version) == ("roll back", "automatic", 2, 1)
    assert str(bad.port) in last.reason
    for server in (good, bad):
        server.wait_for(1)


def test_a_rollback_needs_neither_mlflow_nor_the_model_store(shared, make_server, golden, scan, tmp_path):
    registry, places = shared
    servers = [make_server(tmp_path / name, **places) for name in ("a", "b")]
    for server in servers:
        server.wait_for(1)
    assert len(promote(registry, 2, **WHO, golden=golden, deadline_s=120).following) == 2
    (tmp_path / "shared" / "models").rename(tmp_path / "away")
    # A machine that has never held a bundle: the servers verify their own.
    environment = {**os.environ, **places, "SPINELINE_ROOT": str(tmp_path / "desk"), "SPINELINE_TRACKING_URI": NOWHERE}
    (tmp_path / "desk").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "rollback", "--reason", "worse"],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "version 1 is in use" in done.stdout
    assert "the monitor sets them, or `spineline status --repair`" in done.stderr
    for server in servers:
        assert server.segment(scan).headers["x-spineline-version"] == "1"


def test_a_restarted_server_makes_the_version_before_ready(shared, make_server, golden, tmp_path):
    registry, places = shared
    promote(registry, 2, **WHO, golden=golden, deadline_s=30)
    server = make_server(tmp_path / "a", **places)
    server.wait_for(2)
    server.wait_until(lambda: server.model()["versions_in_memory"] == [1, 2], told="version 1 to be warm")
    (tmp_path / "shared" / "models").rename(tmp_path / "away")
    registry.roll_back(to=None, **WHO)
    server.wait_for(1)
