"""MLflow is told after the ledger, and nobody waits long for one that does not answer."""

import socket
import subprocess
import time

import pytest

from model_registry.aliases import aliases_now, has_mlflow, mirror, mirror_soon
from model_registry.lifecycle import Registry
from spine.errors import SpinelineError
from spine.settings import Settings


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "root").mkdir()
    return Registry(tmp_path / "root")


def test_where_no_training_has_made_a_database_none_is_made(registry):
    services = Settings(root=registry.root)
    assert not has_mlflow(services)
    mirror(registry, services)
    assert mirror_soon(registry, services) is None
    assert aliases_now(services, registry.state()) is None
    assert list(registry.root.iterdir()) == []


@pytest.mark.slow
def test_a_server_that_takes_connections_and_never_answers_is_given_up(registry):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        services = Settings(root=registry.root, tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}")
        failure = mirror_soon(registry, services, wait_s=0.5)
    assert isinstance(failure, SpinelineError)
    assert "within 0.5 s" in str(failure)


@pytest.mark.slow
def test_why_the_aliases_were_not_set_is_told_in_mlflows_words(registry):
    failure = mirror_soon(registry, Settings(root=registry.root, tracking_uri="http://127.0.0.1:9"), wait_s=120)
    assert "MLflow at http://127.0.0.1:9" in str(failure) and "\n" not in str(failure)


def test_a_process_that_hangs_does_not_keep_the_caller(registry, monkeypatch):
    run = subprocess.run
    monkeypatch.setattr(
        "model_registry.aliases.subprocess.run",
        lambda command, **how: run([command[0], "-c", "import time; time.sleep(60)"], **how),
    )
    began = time.monotonic()
    failure = mirror_soon(registry, Settings(root=registry.root, tracking_uri="http://127.0.0.1:9"), wait_s=0.5)
    assert "slow to load, or MLflow did not answer" in str(failure)
    assert time.monotonic() - began < 30
