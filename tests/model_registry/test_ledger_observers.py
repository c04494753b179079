"""Who has seen events of the ledger: servers and MLflow, asked quickly or not at all."""

import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from model_registry.errors import LostEventsError
from model_registry.ledger_observers import LedgerObserver, MlflowObserver
from model_registry.lifecycle import Registry
from spine.settings import Settings

Approved = Callable[..., Registry]
TAG = ("spineline.ledger", "7:sha256:abc")


def make_database(path: Path, *, name: str = "model", value: str = TAG[1]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as opened:
        opened.execute("CREATE TABLE registered_model_tags (key TEXT, value TEXT, name TEXT)")
        opened.execute("INSERT INTO registered_model_tags VALUES (?, ?, ?)", (TAG[0], value, name))
        opened.commit()
    return f"sqlite:///{path}"


@pytest.fixture
def server() -> Iterator[str]:
    """A tracking server that knows one model and its tags."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.path == "/api/2.0/mlflow/registered-models/get?name=model"
            self.send_response(200 if is_known else 404)
            self.end_headers()
            tags = [{"key": "other", "value": "1"}, {"key": TAG[0], "value": TAG[1]}]
            self.wfile.write(json.dumps({"registered_model": {"name": "model", "tags": tags}}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_local_database_tells_the_newest_event_that_it_was_told_of(tmp_path: Path) -> None:
    uri = make_database(tmp_path / "mlflow.db")
    assert MlflowObserver(uri, model_name="model").seen() == [LedgerObserver("MLflow", 7, "sha256:abc")]
    assert MlflowObserver(uri, model_name="another").seen() == []


def test_a_server_tells_it_too(server: str) -> None:
    assert MlflowObserver(server, model_name="model").seen() == [LedgerObserver("MLflow", 7, "sha256:abc")]
    assert MlflowObserver(server, model_name="another").seen() == []


def test_who_does_not_answer_is_asked_once_and_keeps_nobody(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_text("no database")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for uri in (
            f"sqlite:///{tmp_path / 'absent.db'}",
            f"sqlite:///{tmp_path / 'damaged.db'}",
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            "postgresql://nobody@127.0.0.1/none",
        ):
            observer, began = MlflowObserver(uri, model_name="model"), time.monotonic()
            assert [observer.seen() for _ in range(20)] == [[]] * 20
            assert time.monotonic() - began < 15, "every one of the 20 questions waited"
    assert not (tmp_path / "absent.db").exists()


def test_nothing_is_changed_in_a_ledger_that_lacks_what_mlflow_was_told_of(approved: Approved) -> None:
    root = approved(1).root
    services = Settings(root=root, model_name="model")
    make_database(root / "mlflow" / "mlflow.db")
    with pytest.raises(LostEventsError, match="the ledger has 2 events, MLflow has seen event 7: events were lost"):
        Registry.at(root, services).promote(1, actor="ann", reason="for tests", expected_serving=None)
    assert len(Registry(root).history()) == 2
