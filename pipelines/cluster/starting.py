"""One run for one request, also where its answer is lost, and the truth about it where the user interrupts."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.connection import Connection, Told
from pipelines.cluster.errors import (
    ClusterError,
    ConnectionLostError,
    DetachedError,
    ServerFaultError,
    UncertainError,
)
from pipelines.cluster.runs import runs_named
from pipelines.cluster.steps import ENDED
from pipelines.cluster.submission import Version, reference_of, runtime_of

SETTLE_S = 60.0
"""How long a run is looked for after the answer to its request was lost, before it is asked for again."""


def start(
    connection: Connection,
    *,
    version: Version,
    experiment_id: str,
    arguments: Mapping[str, Any],
    title: str,
    service_account: str | None,
    on_wait: Told,
    command: Callable[[str, str], str],
) -> Any:
    """Start a run and return it; ``command`` returns how a command, by its name, is called on a run.

    Raises DetachedError on Ctrl-C where the run was started all the same, UncertainError where that isn't known.
    """
    from kfp_server_api import V2beta1Run

    # The name is this request's own: a run that carries it was started by it.
    name = f"{title} {time.strftime('%Y-%m-%d %H-%M-%S')} {secrets.token_hex(3)}"
    body = V2beta1Run(
        experiment_id=experiment_id,
        display_name=name,
        pipeline_version_reference=reference_of(version),
        runtime_config=runtime_of(arguments),
        service_account=service_account,
    )
    request = _Request(connection, body)
    try:
        run = connection.insist(request.attempt, on_wait=on_wait)
        if request.count > 1:
            run = connection.insist(lambda: _keep_oldest(connection, name, on_wait), on_wait=on_wait)
    except KeyboardInterrupt:
        if not request.count:
            raise
        on_wait("interrupted; looking whether the run was started")
        raise _interrupted(connection, name, command) from None
    except (ConnectionLostError, ServerFaultError) as error:
        if not request.count:
            raise
        raise type(error)(f"{error}; {_maybe_started(connection, name)}") from error
    connection.required(run, "run_id")
    return run


@dataclass
class _Request:
    """The request for one run, which is sent again only once its run has not come up for a while."""

    connection: Connection
    body: Any
    count: int = 0
    """How often it was sent."""
    lost_at: float = 0.0

    def attempt(self) -> Any:
        """Return the run of an earlier request, else ask for it; raises ConnectionLostError while it may still come."""
        name = self.body.display_name
        if self.count:
            if found := runs_named(self.connection, name):
                return found[0]
            if time.monotonic() - self.lost_at < SETTLE_S:
                raise ConnectionLostError(f"{self.connection.place} has no run '{name}' so far; it was asked for")
        self.count += 1
        try:
            return self.connection.ask(self.connection.api.runs.run_service_create_run, run=self.body)
        except (ConnectionLostError, ServerFaultError):
            self.lost_at = time.monotonic()
            raise


def _keep_oldest(connection: Connection, name: str, tell: Told) -> Any:
    """Return the first run of a request that was sent more than once, and stop the others."""
    first, *others = sorted(runs_named(connection, name), key=lambda run: (str(run.created_at), run.run_id))
    for other in others:
        if other.state not in ENDED:
            connection.ask(connection.api.runs.run_service_terminate_run, run_id=other.run_id)
            tell(f"run {other.run_id} was started by the same request and is being stopped; {first.run_id} goes on")
    return first


def _interrupted(connection: Connection, name: str, command: Callable[[str, str], str]) -> ClusterError:
    try:
        found = runs_named(connection, name)
    except (ClusterError, KeyboardInterrupt):
        found = []
    if found:
        return DetachedError(found[0].run_id, follow=command("follow", found[0].run_id))
    return UncertainError(f"interrupted; {_maybe_started(connection, name)}")


def _maybe_started(connection: Connection, name: str) -> str:
    return f"a run '{name}' may have been started: look for it at {connection.place} before you run this again"
