"""MLflow on real SQLite databases: what is recorded, versions once a digest, and aliases that follow the ledger."""

import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from model_registry.errors import TrackingError
from model_registry.lifecycle import Registry
from model_registry.mlflow_aliases import STAGE_TAG, aliases_of, is_anchored
from model_registry.mlflow_runs import EXPERIMENT
from model_registry.mlflow_store import MlflowStore
from model_registry.state import replay
from spine.errors import InvalidValueError
from spine.journal import Entry
from spine.storage import short

MODEL = "vertebra-segmentation"


def open_store(database: Path, *, options: str = "") -> MlflowStore:
    return MlflowStore(f"sqlite:///{database}{options}", artifacts=database.parent / "artifacts", model_name=MODEL)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing in them: making one takes seconds, copying it none."""
    path = tmp_path_factory.mktemp("mlflow") / "new" / "mlflow.db"
    open_store(path)
    return path


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Path:
    return Path(shutil.copy(empty_database, tmp_path / "mlflow.db"))


@pytest.fixture
def store(database: Path) -> MlflowStore:
    return open_store(database)


@pytest.fixture
def client(database: Path) -> MlflowClient:
    """MLflow's own client on the same database."""
    uri = f"sqlite:///{database}"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


@pytest.fixture
def run(store: MlflowStore) -> str:
    """The run of a candidate."""
    return store.candidate_run("abc", name="demo abc")


@pytest.fixture
def mirrored(versions: Callable[..., list[int]], approved: Callable[..., Registry]) -> Callable[..., Registry]:
    """A function of versions that are approved in the ledger, each with its bundle in MLflow too."""

    def add(*numbers: int) -> Registry:
        registry = approved(*numbers)
        versions(*(registry.state().versions[number].model_digest for number in numbers))
        return registry

    return add


@pytest.fixture
def versions(store: MlflowStore, run: str, tmp_path: Path) -> Callable[..., list[int]]:
    """A function of digests that creates a version each."""

    def create(*digests: str) -> list[int]:
        return [
            store.create_version(run_id=run, source=tmp_path.as_uri(), digest=digest, tags={}) for digest in digests
        ]

    return create


def points(client: MlflowClient, run: str, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run, name)]


def metrics(values: dict[str, float], *, step: int, time_s: float = 1000.0) -> Entry:
    return Entry(time_s=time_s, metrics=values, step=step)


def test_a_candidate_and_its_folds_have_one_run_each(store: MlflowStore, client: MlflowClient, run: str) -> None:
    folds = [store.fold_run(run, fold=fold) for fold in (0, 1, 0)]
    assert folds[0] == folds[2] != folds[1]
    assert store.candidate_run("abc", name="other") == run
    assert store.candidate_run("other", name="demo abc") != run
    parent, child = client.get_run(run), client.get_run(folds[1])
    assert (parent.info.run_name, child.info.run_name) == ("demo abc", "fold 1")
    assert parent.data.tags["spineline.candidate"] == "abc"
    assert child.data.tags["mlflow.parentRunId"] == run
    assert client.get_experiment(parent.info.experiment_id).name == EXPERIMENT
    for tags in (parent.data.tags, child.data.tags):
        assert "never evidence" in tags["mlflow.note.content"]


def test_a_deleted_run_is_not_found_again(store: MlflowStore, client: MlflowClient, run: str) -> None:
    client.delete_run(run)
    assert not store.is_active(run)
    assert not store.is_active("0" * 32)
    assert store.is_active(store.candidate_run("abc", name="demo abc"))
    with pytest.raises(TrackingError, match="must be in the 'active' state"):
        store.send(run, [metrics({"loss": 1.0}, step=1)])


def test_entries_become_points_parameters_tags_and_a_status(store: MlflowStore, client: MlflowClient, run: str) -> None:
    store.send(
        run,
        [
            Entry(time_s=1000.0, parameters={"epochs": "2"}, tags={"node": "a"}, status="RUNNING"),
            metrics({"loss": 0.5, "dice": 0.25}, step=1, time_s=1001.5),
            metrics({"loss": -0.25}, step=2, time_s=1002.0),
            Entry(time_s=1003.25, tags={"node": "b"}, status="FINISHED"),
        ],
    )
    told = client.get_run(run)
    assert (told.info.status, told.info.end_time) == ("FINISHED", 1_003_250)
    assert (told.data.params, told.data.tags["node"]) == ({"epochs": "2"}, "b")
    assert points(client, run, "loss") == [(1, 0.5), (2, -0.25)]
    assert client.get_metric_history(run, "dice")[0].timestamp == 1_001_500
    store.send(run, [Entry(time_s=1004.0, status="RUNNING")])
    assert client.get_run(run).info.status == "RUNNING"


def test_what_is_sent_twice_is_there_once(store: MlflowStore, client: MlflowClient, run: str) -> None:
    told = [metrics({"loss": 0.5, "dice": 0.1}, step=step, time_s=1000.0 + step) for step in (1, 2, 3)]
    store.send(run, told[:2])
    store.send(run, told)
    assert points(client, run, "loss") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def test_more_than_one_batch_arrives_whole(store: MlflowStore, client: MlflowClient, run: str) -> None:
    store.send(run, [metrics({f"m{number}": 1.0 for number in range(40)}, step=step) for step in range(1, 61)])
    store.send(run, [Entry(time_s=0.0, parameters={f"p{number}": "1" for number in range(150)})])
    store.send(run, [Entry(time_s=0.0, tags={f"t{number}": "1" for number in range(150)})])
    for name in ("m0", "m39"):
        assert points(client, run, name) == [(step, 1.0) for step in range(1, 61)]
    told = client.get_run(run).data
    assert len(told.params) == 150
    assert sum(name.startswith("t") for name in told.tags) == 150


def test_parameters_longer_than_mlflow_takes_are_cut(store: MlflowStore, client: MlflowClient, run: str) -> None:
    store.send(run, [Entry(time_s=0.0, parameters={"fits": "é" * 6000, "long": "é" * 6001})])
    assert client.get_run(run).data.params == {"fits": "é" * 6000, "long": "é" * 5999 + "…"}


def test_a_changed_parameter_keeps_its_first_value_and_shows_the_newest_as_a_tag(
    store: MlflowStore, client: MlflowClient, run: str
) -> None:
    def told(value: str, **others: str) -> tuple[str, str | None]:
        store.send(run, [Entry(time_s=0.0, parameters={"workers": value, **others})])
        data = client.get_run(run).data
        return data.params["workers"], data.tags.get("changed.workers")

    assert told("8") == told("8") == ("8", None)
    assert told("2", epochs="5") == ("8", "2")
    assert told("8") == ("8", "8")
    assert client.get_run(run).data.params["epochs"] == "5"


def test_names_that_mlflow_refuses_are_made_fit(store: MlflowStore, client: MlflowClient, run: str) -> None:
    names = ("dice L1-L5 [%]", "a//b", "../up", "/top", ".", "", "x" * 300, "val/dice: T1")
    store.send(run, [Entry(time_s=0.0, metrics=dict.fromkeys(names, 1.0), tags=dict.fromkeys(names, "a"))])
    store.send(run, [Entry(time_s=0.0, parameters=dict.fromkeys(names, "a"))])
    data = client.get_run(run).data
    fit = {"dice L1-L5 ___", "_a__b", "_.._up", "__top", "_.", "_", "x" * 250, "val/dice: T1"}
    assert set(data.metrics) == set(data.params) == fit
    assert fit <= set(data.tags)


def test_a_value_that_mlflow_refuses_is_left_out_and_told(
    store: MlflowStore, client: MlflowClient, run: str, caplog: pytest.LogCaptureFixture
) -> None:
    before_time_began = metrics({"odd": 1.0}, step=2, time_s=-5.0)
    store.send(run, [metrics({"loss": 0.5}, step=1), before_time_began, metrics({"loss": 0.25}, step=2)])
    assert points(client, run, "loss") == [(1, 0.5), (2, 0.25)]
    assert "odd" not in client.get_run(run).data.metrics
    assert [record.getMessage()[:19] for record in caplog.records if record.name.startswith("model_registry")] == [
        "MLflow refuses odd "
    ]


def test_scores_are_shown_once_and_newer_ones_replace_them(store: MlflowStore, client: MlflowClient, run: str) -> None:
    for dice in (0.5, 0.5, 0.75):
        store.show(run, parameters={"recipe": "demo"}, metrics={"test.dice": dice}, tags={"verdict": "pass"})
    assert [value for _, value in points(client, run, "test.dice")] == [0.5, 0.75]
    data = client.get_run(run).data
    assert (data.metrics["test.dice"], data.params["recipe"], data.tags["verdict"]) == (0.75, "demo", "pass")


def test_files_lie_beside_their_run(store: MlflowStore, client: MlflowClient, run: str, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    for text in ("<html>", "<html>new"):
        report.write_text(text)
        store.add_files(run, [report])
    assert [file.path for file in client.list_artifacts(run)] == ["report.html"]
    assert [path.read_text() for path in (tmp_path / "artifacts").rglob("report.html")] == ["<html>new"]


def test_a_digest_becomes_a_version_once(versions: Callable[..., list[int]], database: Path) -> None:
    assert versions("sha256:a", "sha256:b", "sha256:a") == [1, 2, 1]
    again = open_store(database)
    assert [again.version_of(digest) for digest in ("sha256:a", "sha256:b", "sha256:c")] == [1, 2, None]


def test_a_version_leads_to_its_run_and_its_bundle(
    client: MlflowClient, store: MlflowStore, run: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a bundle"
    number = store.create_version(run_id=run, source=folder.as_uri(), digest="sha256:a", tags={"recipe": "demo"})
    version = client.get_model_version(MODEL, str(number))
    assert (version.run_id, version.source, version.tags["recipe"]) == (run, folder.as_uri(), "demo")


def test_two_versions_of_a_digest_that_are_created_at_once_become_one(
    database: Path, run: str, client: MlflowClient
) -> None:
    stores, ready = [open_store(database) for _ in range(4)], threading.Barrier(4)
    for store in stores:
        # Whoever asks first finds nothing; then all create.
        store.version_of = _after(ready, store.version_of)  # type: ignore[method-assign]

    def create(store: MlflowStore) -> int:
        return store.create_version(run_id=run, source="s3://models/a", digest="sha256:a", tags={})

    with ThreadPoolExecutor(4) as pool:
        numbers = list(pool.map(create, stores))
    assert len(set(numbers)) == 1
    assert [int(version.version) for version in client.search_model_versions(f"name = '{MODEL}'")] == numbers[:1]
    assert open_store(database).version_of("sha256:a") == numbers[0]


def _after(ready: threading.Barrier, ask: Callable[[str], int | None]) -> Callable[[str], int | None]:
    asked = []

    def wait_once(digest: str) -> int | None:
        found = ask(digest)
        if not asked:
            asked.append(digest)
            ready.wait(30)
        return found

    return wait_once


def test_a_tracking_server_is_not_given_a_folder_of_this_machine(tmp_path: Path) -> None:
    store = MlflowStore("http://127.0.0.1:9", artifacts=tmp_path, model_name=MODEL)
    with pytest.raises(InvalidValueError, match="SPINELINE_MODEL_STORE"):
        store.create_version(run_id="r", source=tmp_path.as_uri(), digest="sha256:a", tags={})


def test_the_anchor_follows_the_ledger_and_stays_where_the_ledger_lost_events(
    store: MlflowStore, mirrored: Callable[..., Registry]
) -> None:
    registry = mirrored(1)
    assert store.anchor() is None
    store.mirror(registry.state())
    assert store.anchor() is None, "nobody told which event is the newest"
    for number in (2, 3):
        if number == 3:
            registry.promote(1, actor="ann", reason="r", expected_serving=None)
        store.mirror(registry.state(), events=registry.history())
        assert store.anchor() == (number, registry.history()[-1].digest)
    newest, shorter = store.anchor(), registry.history()[:2]
    assert not is_anchored(shorter, newest)
    store.mirror(registry.state(), events=shorter)
    assert store.anchor() == newest
    other = [event.model_copy(update={"reason": "another ledger"}) for event in registry.history()]
    store.mirror(registry.state(), events=other)
    assert store.anchor() == newest
    assert is_anchored(registry.history(), newest)


def test_an_anchor_that_is_none_of_ours_counts_as_none(store: MlflowStore, client: MlflowClient) -> None:
    client.create_registered_model(MODEL, tags={"spineline.ledger": "rubbish"})
    assert store.anchor() is None


def test_aliases_and_tags_follow_the_ledger_and_what_was_changed_by_hand_is_repaired(
    store: MlflowStore, client: MlflowClient, mirrored: Callable[..., Registry]
) -> None:
    registry = mirrored(1, 2, 3)

    def aliases() -> dict[str, int]:
        assert store.mirror(registry.state()) == ()
        model, state = store.model(), registry.state()
        assert model.aliases == aliases_of(state)
        assert {number: found.stage for number, found in model.versions.items()} == {
            number: known.stage for number, known in state.versions.items()
        }
        return dict(model.aliases)

    assert aliases() == {"candidate": 3}
    registry.promote(1, actor="ann", reason="r", expected_serving=None)
    assert aliases() == {"candidate": 3, "champion": 1}
    registry.promote(2, actor="ann", reason="r", expected_serving=1)
    assert aliases() == {"candidate": 3, "champion": 2, "previous": 1}
    client.set_registered_model_alias(MODEL, "champion", "3")
    client.delete_registered_model_alias(MODEL, "previous")
    client.set_model_version_tag(MODEL, "2", STAGE_TAG, "revoked")
    assert aliases() == {"candidate": 3, "champion": 2, "previous": 1}
    registry.roll_back(to=None, actor="ann", reason="r")
    registry.revoke(3, actor="ann", reason="r")
    client.set_registered_model_alias(MODEL, "previous", "3")
    assert aliases() == {"champion": 1}


def test_nothing_is_written_where_nothing_differs(
    store: MlflowStore, mirrored: Callable[..., Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = mirrored(1, 2)
    store.mirror(registry.state(), events=registry.history())
    for name in ("set_registered_model_alias", "set_model_version_tag", "set_registered_model_tag"):
        monkeypatch.setattr(MlflowClient, name, lambda *_: pytest.fail("written"))
    assert store.mirror(registry.state(), events=registry.history()) == ()


def test_an_alias_of_somebody_else_is_left_alone(
    store: MlflowStore, client: MlflowClient, mirrored: Callable[..., Registry]
) -> None:
    registry = mirrored(1)
    client.set_registered_model_alias(MODEL, "shadow", "1")
    store.mirror(registry.state())
    assert store.aliases() == {"candidate": 1, "shadow": 1}


def test_an_empty_registry_has_no_aliases_and_no_versions(store: MlflowStore, registry: Registry) -> None:
    store.mirror(registry.state())
    assert store.aliases() == {}
    assert store.version_of("sha256:a") is None


def test_a_version_that_mlflow_lacks_is_a_difference(store: MlflowStore, approved: Callable[..., Registry]) -> None:
    registry = approved(1)
    told = ("MLflow has no version 1, the ledger says it is candidate",)
    assert store.mirror(registry.state(), events=registry.history()) == told


@pytest.mark.parametrize("tag", ["sha256:" + "0" * 64, None])
def test_a_version_with_another_bundle_is_a_difference_and_gets_no_alias(
    store: MlflowStore, client: MlflowClient, mirrored: Callable[..., Registry], tag: str | None
) -> None:
    registry = mirrored(1, 2)
    if tag:
        client.set_model_version_tag(MODEL, "2", "spineline.bundle", tag)
    else:
        client.delete_model_version_tag(MODEL, "2", "spineline.bundle")
    registry.promote(1, actor="ann", reason="r", expected_serving=None)
    (difference,) = store.mirror(registry.state(), events=registry.history())
    held = "bundle 000000000000" if tag else "no bundle"
    wanted = registry.state().versions[2].model_digest
    assert difference == f"MLflow's version 2 holds {held}, the ledger says bundle {short(wanted)}"
    assert store.aliases() == {"champion": 1}
    assert store.model().versions[2].stage is None


def test_nothing_follows_a_ledger_that_lost_events(store: MlflowStore, mirrored: Callable[..., Registry]) -> None:
    registry = mirrored(1)
    registry.promote(1, actor="ann", reason="r", expected_serving=None)
    store.mirror(registry.state(), events=registry.history())
    shorter = registry.history()[:-1]
    (difference,) = store.mirror(replay(shorter), events=shorter)
    assert "MLflow has seen event 3: events were lost" in difference
    assert store.aliases() == {"champion": 1}


def test_a_locked_database_is_told_in_one_line(database: Path) -> None:
    store = open_store(database, options="?timeout=0.1")
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for attempt in (lambda: store.version_of("sha256:a"), store.aliases):
            with pytest.raises(TrackingError, match="database is locked; expected a database or server") as told:
                attempt()
            assert "\n" not in str(told.value)
    assert store.aliases() == {}


def test_a_place_that_cannot_hold_a_database_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "mlflow.db", tmp_path / "file" / "below" / "mlflow.db"):
        with pytest.raises(TrackingError, match=f"MLflow at sqlite:///{place}: .*") as told:
            open_store(place)
        assert "\n" not in str(told.value)


@pytest.mark.timeout(60)  # MLflow's own retries take minutes, which a caller would spend waiting
@pytest.mark.parametrize("fault", ["timeout", "refused"])
def test_a_server_that_does_not_answer_is_told_in_one_line_within_seconds(tmp_path: Path, fault: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        if fault == "refused":
            silent.close()
        with pytest.raises(TrackingError, match=f"MLflow at {uri}: .*{fault}") as told:
            MlflowStore(uri, artifacts=tmp_path, model_name=MODEL).check()
        assert "\n" not in str(told.value)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_a_postgresql_that_is_not_there_is_told_in_one_line_without_its_password(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(TrackingError, match=r"MLflow at postgresql\+psycopg2://127.0.0.1:9/db: .*refused") as told:
        MlflowStore(f"{scheme}://ann:secret@127.0.0.1:9/db", artifacts=tmp_path, model_name=MODEL)
    assert "\n" not in str(told.value)
    assert "secret" not in str(told.value)


MAKE = """
import sys
from pathlib import Path
from model_registry.mlflow_store import MlflowStore
store = MlflowStore("sqlite:///" + sys.argv[1], artifacts=Path(sys.argv[1]).parent, model_name="m")
store.candidate_run(sys.argv[2], name="run")
"""


@pytest.mark.slow
def test_processes_that_begin_at_once_make_one_sound_database(tmp_path: Path) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    started = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(database), str(number)], stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert [path.name for path in database.parent.iterdir() if "partial" in path.name] == []


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_none_that_is_half_made(tmp_path: Path) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    making = subprocess.Popen([sys.executable, "-c", MAKE, str(database), "0"], stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob("mlflow/.partial-*")) and making.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    making.kill()
    making.wait()
    again = subprocess.run([sys.executable, "-c", MAKE, str(database), "1"], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
