"""MLflow on PostgreSQL, as a cluster has it: a version from its registration to MLflow's own loading of it."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.register_candidate.main import register_candidate
from model_registry.lifecycle import Registry
from model_registry.mlflow_aliases import aliases_of
from model_registry.mlflow_store import MlflowStore
from spine.settings import Settings, child_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))


def unprivileged() -> list[str]:
    """How a program is started here that refuses to run as root; nothing where we are not."""
    if os.getuid() != 0:
        return []
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in known else "nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture
def database() -> Iterator[str]:
    """The URI of an empty database of Debian's server, which runs in a temporary folder."""
    if not PROGRAMS:
        pytest.skip("no PostgreSQL below /usr/lib/postgresql; `apt-get install postgresql` brings it")
    if os.getuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to be somebody else")
    binaries, become = PROGRAMS[-1].parent, unprivileged()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    # Below /tmp and not below pytest's folder, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as place:
        if become:
            os.chown(place, *(int(option.partition("=")[2]) for option in become[1:3]))
        data = f"{place}/data"

        def run(*command: str) -> None:
            subprocess.run([*become, *command], check=True, cwd="/", capture_output=True, timeout=120)

        run(str(binaries / "initdb"), "--pgdata", data, "--username", "mlflow", "--auth", "trust", "--no-sync")
        options = f"-p {port} -k {place} -c listen_addresses=127.0.0.1 -c fsync=off"
        control = [str(binaries / "pg_ctl"), "--pgdata", data, "--wait"]
        run(*control, "--log", f"{place}/log", "--options", options, "start")
        try:
            yield f"postgresql://mlflow:secret@127.0.0.1:{port}/postgres"
        finally:
            run(*control, "--mode", "immediate", "stop")


LOAD = """
import sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_registry_uri(sys.argv[1])
for name in ("models:/vertebra-segmentation/1", "models:/vertebra-segmentation@champion"):
    model = mlflow.pyfunc.load_model(name)
print(list(model.predict(model.input_example).columns))
"""


def test_register_approve_promote_mirror_compare_and_load(judged, services: Settings, database: str) -> None:
    there = services.model_copy(update={"tracking_uri": database})
    assert register_candidate(**judged, services=there).version == 1
    assert register_candidate(**judged, services=there).version == 1
    registry = Registry.at(judged["root"], there)
    registry.approve(1, actor="ben", reason="looked at the report")
    registry.promote(1, actor="ben", reason="first", expected_serving=None)
    store = MlflowStore(database, artifacts=judged["root"] / "artifacts", model_name=there.model_name)
    store.mirror(registry.state(), events=registry.history())
    assert store.aliases() == aliases_of(registry.state()) == {"champion": 1}
    assert store.anchor() == (3, registry.history()[-1].digest)
    uri = database.replace("postgresql:", "postgresql+psycopg2:")
    done = subprocess.run(
        [sys.executable, "-c", LOAD, uri], env=child_environment(), cwd="/", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['mask', 'report']"
