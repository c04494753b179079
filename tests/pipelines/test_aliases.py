"""MLflow is told after the ledger, and nobody waits long for one that does not answer."""

import socket

import pytest

from model_registry.lifecycle import Registry
from pipelines.aliases import aliases_now, has_mlflow, mirror, mirror_soon
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
    assert "does not answer" in str(failure)
