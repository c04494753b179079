"""The connection to MLflow at one URI: SQLite or PostgreSQL directly, or a tracking server."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError

from model_registry.errors import TrackingError
from model_registry.mlflow_names import with_driver, without_password
from spine.storage import atomic_file

_ANSWER_S = 3.0
_SQLITE = "sqlite:///"


class MlflowConnection:
    """MLflow's client at one URI, whose failures are TrackingErrors of one line."""

    def __init__(self, uri: str, *, artifacts: Path, model_name: str) -> None:
        self._uri, self._artifacts, self._name = with_driver(uri), artifacts, model_name
        with self._reported():
            if uri.startswith(_SQLITE):
                _make_database(Path(uri.removeprefix(_SQLITE)))
            elif self._uri.startswith("postgresql"):
                _connect(self._uri)
            self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def check(self) -> None:
        """Raise TrackingError within seconds where nobody answers: MLflow itself tries for minutes."""
        with self._reported():
            if self._uri.startswith("postgresql"):
                _connect(self._uri)
            if not self._uri.startswith("http"):
                return
            answer = http_request(
                get_default_host_creds(self._uri), "/health", "GET",
                max_retries=0, timeout=_ANSWER_S, raise_on_status=False,
            )  # fmt: skip
        # A proxy may know no such page, or refuse it: it answers, which is what was asked.
        if answer.status_code >= 500:
            reason = f"answers with status {answer.status_code}"
            raise TrackingError(without_password(self._uri), reason=reason, is_transient=True)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
            reason = without_password(first_line(error))
            raise TrackingError(without_password(self._uri), reason=reason) from error


def _connect(uri: str) -> None:
    """Connect to a database and leave: MLflow's own attempts take minutes before it says why there is none."""
    engine = create_engine(uri, connect_args={"connect_timeout": round(_ANSWER_S)})
    try:
        engine.connect().close()
    finally:
        engine.dispose()


def _make_database(path: Path) -> None:
    """Make an SQLite database with MLflow's tables, whole or not at all, where there is none.

    MLflow makes them one after the other in the final file: two folds that begin at once, or a kill in between, leave
    a database that no MLflow opens again.
    """
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_file():
            with atomic_file(path) as partial:
                MlflowClient(tracking_uri=_SQLITE + str(partial)).search_experiments(max_results=1)


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or ["no answer"])[0]
