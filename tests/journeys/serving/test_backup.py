"""The commands of docs/backup.md, word for word: saved, everything destroyed, restored, and the same model answers."""

import gzip
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.mlflow_store import MlflowStore
from spine.settings import settings

pytestmark = pytest.mark.slow
DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "backup.md"
POSTGRESQL = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
WHO = {"actor": "ann", "reason": "for tests"}
VARIABLES = ("ROOT", "TRACKING_URI", "LEDGER", "MODEL_STORE", "TOKENS", "S3_ENDPOINT", "PROGRESS_FILE")


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """A function that sets what the commands and this process know of the services; nothing of the machine's own."""
    for name in VARIABLES:
        monkeypatch.delenv(f"SPINELINE_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("COLUMNS", "200")

    def known(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))
        settings.cache_clear()

    known(SPINELINE_ROOT=tmp_path / "root", SPINELINE_ACTOR="ann")
    yield known
    settings.cache_clear()


@pytest.fixture
def make_state(tmp_path, make_bundle, environment):
    """A function that makes two versions, promoted one after the other and rolled back, and tells MLflow of them."""

    def make():
        registry = Registry.at(settings().root_path, settings())
        store = mlflow()
        run = store.candidate_run("tiny", name="tiny")
        for number in (1, 2):
            bundle = make_bundle(registry.root / "models" / f"candidate{number}" / "bundle", seed=number)
            source = "s3://elsewhere" if settings().mlflow_uri.startswith("http") else registry.location(bundle)
            store.create_version(run_id=run, source=source, digest=bundle.digest, tags={})
            registry.register(version=number, bundle=bundle, **WHO)
            registry.approve(number, **WHO)
            registry.promote(number, expected_serving=number - 1 or None, **WHO)
        registry.roll_back(to=1, **WHO)
        store.mirror(registry.state(), events=registry.history())
        return registry

    return make


def mlflow():
    root = settings().root_path
    return MlflowStore(settings().mlflow_uri, artifacts=root / "mlflow" / "artifacts", model_name=settings().model_name)


@pytest.fixture
def run(run_blocks, tmp_path):
    """A function that runs the blocks below a heading of the document, with folders of this test in them."""

    def ran(heading, *, fails=False, **places):
        places = {f"{name}=s3://spineline": f"{name}={place}" for name, place in places.items()}
        return run_blocks(DOCUMENT, heading, replaced={"/backup/": f"{tmp_path}/backup/", **places}, fails=fails)

    return ran


@pytest.fixture
def answer(make_server, scan):
    """A function that starts a server below a root, lets it answer a scan, ends it, and returns version and mask."""

    def answered(root):
        server = make_server(root)
        server.wait_for(1)
        reply = server.segment(scan)
        server.kill()
        assert reply.status_code == 200, reply.text
        return reply.headers["x-spineline-version"], gzip.decompress(reply.content)

    return answered


def require_restored(registry, history):
    """Assert that a new look finds the same events, and every file of every bundle as its event says."""
    settings.cache_clear()
    again = Registry.at(settings().root_path, settings())
    assert again.whole_history() == history
    assert again.state().serving == 1
    for known in again.state().versions.values():
        Bundle(again.root / known.bundle).verify(expected=known.model_digest)
    assert mlflow().aliases() == {"champion": 1}
    assert mlflow().anchor() == (len(history), history[-1].digest)


def test_one_machine_comes_back_with_the_same_history_version_and_mask(make_state, run, answer):
    registry = make_state()
    before, history = answer(registry.root), registry.history()
    run("Back up one machine")
    assert "differences: none" in run("Look at a backup")
    shutil.rmtree(registry.root)
    told = run("Restore one machine")
    assert "chain verified" in told
    assert "differences: none" in told
    require_restored(registry, history)
    assert answer(registry.root) == before


def test_a_backup_during_which_somebody_changes_something_fails_and_is_run_again(make_state, run, tmp_path):
    registry = make_state()
    (tmp_path / "bin").mkdir()
    meanwhile = tmp_path / "bin" / "sqlite3"
    meanwhile.write_text(f'#!/bin/sh\n{shutil.which("sqlite3")} "$@" && spineline rollback --to 2 --reason "a test"\n')
    meanwhile.chmod(0o755)
    assert "differ" in run("Back up one machine", fails=True)
    meanwhile.unlink()
    registry.roll_back(to=1, **WHO)
    mlflow().mirror(registry.state(), events=registry.history())
    assert "saved: " in run("Back up one machine")
    assert "differences: none" in run("Look at a backup")


def test_events_after_the_backup_come_back_from_evidence_packs(make_state, run):
    registry = make_state()
    run("Back up one machine")
    last = registry.promote(2, expected_serving=1, **WHO)
    mlflow().mirror(registry.state(), events=registry.history())
    history = registry.history()
    _pack(registry, version=2)
    shutil.rmtree(registry.root / "ledger")
    assert "events were lost" in run("The ledger alone")
    told = run("Events that the backup lacks")
    assert f"brought back {registry.root}/ledger/{last.number:06d}.json" in told
    assert Registry.at(registry.root, settings()).whole_history() == history


def test_a_lost_event_can_be_given_up_on_purpose(make_state, run):
    registry = make_state()
    (registry.root / "ledger" / "000007.json").unlink()
    told = subprocess.run(["spineline", "status", "--repair"], capture_output=True, text=True)
    assert "events were lost" in told.stderr
    assert told.returncode == 2
    assert "differences: none" in run("An event that is lost for good")
    assert mlflow().aliases() == {"champion": 2, "previous": 1}


def test_a_cluster_comes_back_with_its_volume_and_postgresql(
    make_state, run, answer, environment, postgresql, kubectl, tmp_path
):
    environment(SPINELINE_TRACKING_URI=postgresql)
    registry = make_state()
    before, history = answer(registry.root), registry.history()
    run("Back up a cluster")
    shutil.rmtree(registry.root)
    registry.root.mkdir()
    _empty(postgresql)
    told = run("Restore a cluster")
    assert "chain verified" in told
    assert "differences: none" in told
    assert "scale deployment/mlflow --replicas=0" in kubectl.read_text()
    require_restored(registry, history)
    assert answer(registry.root) == before


def test_a_bucket_comes_back_with_ledger_bundles_and_database(
    make_state, run, answer, environment, postgresql, bucket, s3_server, tmp_path
):
    if not shutil.which("aws"):
        pytest.skip("no aws; `apt-get install awscli` brings it")
    place = f"s3://{bucket}/spine"
    environment(
        SPINELINE_TRACKING_URI=postgresql,
        MLFLOW_BACKEND_STORE_URI=postgresql.replace("postgresql:", "postgresql+psycopg2:"),
        SPINELINE_LEDGER=f"{place}/ledger",
        SPINELINE_MODEL_STORE=f"{place}/models",
        SPINELINE_S3_ENDPOINT=s3_server,
        AWS_ENDPOINT_URL=s3_server,
    )
    registry = make_state()
    before, history = answer(tmp_path / "one"), registry.history()
    run("Back up a bucket", BUCKET=place)
    subprocess.run(["aws", "s3", "rm", "--recursive", "--quiet", place], check=True)
    shutil.rmtree(registry.root)
    _empty(postgresql)
    told = run("Restore a bucket", BUCKET=place)
    assert "chain verified" in told
    assert "differences: none" in told
    for number in (1, 2):
        Registry.at(settings().root_path, settings()).verified_bundle(number)
    require_restored(registry, history)
    assert answer(tmp_path / "another") == before


@pytest.fixture
def postgresql(monkeypatch):
    """The URI of the empty database ``mlflow`` of a server in a temporary folder, which libpq finds without it."""
    if not POSTGRESQL:
        pytest.skip("no PostgreSQL below /usr/lib/postgresql; `apt-get install postgresql` brings it")
    become = []
    if os.getuid() == 0:
        user = pwd.getpwnam("postgres" if "postgres" in {known.pw_name for known in pwd.getpwall()} else "nobody")
        become = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    # Below /tmp and not below pytest's folder, which nobody else may enter.
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as place:
        if become:
            os.chown(place, user.pw_uid, user.pw_gid)

        def call(program, *arguments):
            command = [*become, str(POSTGRESQL[-1].with_name(program)), *arguments]
            subprocess.run(command, check=True, cwd="/", capture_output=True, timeout=120)

        data = ["--pgdata", f"{place}/data"]
        call("initdb", *data, "--username", "mlflow", "--auth", "trust", "--no-sync")
        options = f"-p {port} -k {place} -c listen_addresses=127.0.0.1 -c fsync=off"
        call("pg_ctl", *data, "--wait", "--log", f"{place}/log", "--options", options, "start")
        try:
            for name, value in (("PGHOST", "127.0.0.1"), ("PGPORT", str(port)), ("PGUSER", "mlflow")):
                monkeypatch.setenv(name, value)
            subprocess.run(["createdb", "mlflow"], check=True)
            yield f"postgresql://mlflow:secret@127.0.0.1:{port}/mlflow"
        finally:
            call("pg_ctl", *data, "--mode", "immediate", "stop")


def _empty(database):
    """Lose all that a database holds."""
    name = urlsplit(database).path.strip("/")
    subprocess.run(["dropdb", "--force", name], check=True)
    subprocess.run(["createdb", name], check=True)


def _pack(registry, *, version):
    """Write what an evidence pack holds of the ledger, as `spineline approve` and later changes do."""
    lines = [event.text() for event in registry.history() if version in (event.version, event.from_version)]
    pack = (registry.root / registry.state().version(version).bundle).parent / f"evidence-{version}.zip"
    with zipfile.ZipFile(pack, "w") as archive:
        archive.writestr("ledger.jsonl", "".join(f"{line}\n" for line in lines))
    assert json.loads(lines[-1])["number"] == len(registry.history())
