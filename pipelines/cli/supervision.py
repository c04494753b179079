"""The command that supervises the runs of a cluster until it is stopped."""

import logging
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.cli.cluster_options import PROFILE, Choice, HostOption, ProfileOption
from pipelines.cli.run_following import cluster_of
from spine.errors import SpinelineError
from spine.logs import setup

if TYPE_CHECKING:
    from pipelines.cluster.mlflow_runs import Ending
    from pipelines.cluster.supervisor import Supervisor

_LOG = logging.getLogger(__name__)


def supervise(
    interval: Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="Time between two looks.")] = 30.0,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port that answers /metrics and /healthz; none by default.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and exit.")] = False,
    namespace: Annotated[
        str | None, typer.Option(metavar="NAME", help="Namespace of the runs, in place of the profile's.")
    ] = None,
    profile: ProfileOption = PROFILE,
    host: HostOption = None,
) -> None:
    """Retry failed runs that nobody follows, and end the MLflow runs of stopped and failed ones, until SIGTERM.

    A run is retried as `spineline follow` does: as often as the step's `retries` allow, and only where another attempt
    can succeed (a signal, an eviction, an unreachable store or MLflow).

    [bold]Example[/bold]: spineline runs supervise --profile my-cluster.yaml --metrics-port 8644
    """
    from contextlib import nullcontext

    from components.monitor_root.server import answering
    from pipelines.cluster.connection import connected
    from pipelines.cluster.endpoint import Endpoint
    from pipelines.cluster.supervisor import Supervisor

    setup()
    stop = threading.Event()
    endpoint = Choice(profile=profile, host=host).resolved().kubeflow
    if namespace:
        endpoint = Endpoint.parse({**endpoint.model_dump(), "namespace": namespace}, where="--namespace")
    with connected(endpoint) as connection:
        supervisor = Supervisor(connection, cluster_of(endpoint), end_mlflow_runs=_end_mlflow_runs)
        # Within `connected` these signals interrupt; a service that is stopped ends without an error.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        metrics = (
            nullcontext() if metrics_port is None else answering(_Collector(supervisor), host="", port=metrics_port)
        )
        with metrics:
            _LOG.info("supervising the runs at %s", connection.place)
            while not stop.is_set():
                _look(supervisor)
                if once or stop.wait(interval):
                    break


def _look(supervisor: "Supervisor") -> None:
    try:
        supervisor.look()
    except SpinelineError as error:
        supervisor.counts.failed_looks += 1
        _LOG.warning("runs can't be read: %s; trying again", error)
    except Exception:
        # A supervisor that ends over an answer it does not understand would leave every other run alone.
        supervisor.counts.failed_looks += 1
        _LOG.exception("runs can't be supervised; trying again")


def _end_mlflow_runs(run_id: str, status: "Ending") -> None:
    from pipelines.cluster.mlflow_runs import end_mlflow_runs

    end_mlflow_runs(run_id, status, report=_LOG.info)


class _Collector:
    """The supervisor's counts as metrics."""

    def __init__(self, supervisor: "Supervisor") -> None:
        self._counts = supervisor.counts

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        counts = self._counts
        yield CounterMetricFamily("spineline_supervisor_looks", "Looks at the runs.", value=counts.looks)
        yield CounterMetricFamily(
            "spineline_supervisor_failed_looks", "Looks that failed as a whole.", value=counts.failed_looks
        )
        yield CounterMetricFamily("spineline_supervisor_retries", "Runs that were retried.", value=counts.retries)
        yield CounterMetricFamily(
            "spineline_supervisor_given_up", "Failed runs that were not retried.", value=counts.given_up
        )
        yield GaugeMetricFamily(
            "spineline_supervisor_last_look_timestamp_seconds",
            "Time of the last look that succeeded, in seconds since 1970.",
            value=counts.last_look_at,
        )
