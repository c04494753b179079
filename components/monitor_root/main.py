"""Report the state of a shared root to Prometheus, and keep MLflow equal to the ledger and to the trainings below it.

Answers GET /metrics and GET /healthz until SIGTERM. The root is only read and may be mounted read-only; for the
ledger's store (SPINELINE_LEDGER) the right to list and get is enough. The root is read at a scrape, at most once in
--pause seconds; of a journal only what is new is read. Labels name the candidates and evaluations that were active in
the last --days days, at most 20 of each, by the first 12 digits of their digests.

Every --reconcile seconds MLflow's aliases and tags are compared with the ledger, and what differs is written. A
training whose heartbeat has not changed for --dead-after seconds is dead: its RUNNING runs in MLflow are ended.
"""

import argparse
import logging
import signal
import threading
from pathlib import Path

from spine.arguments import Arguments
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.settings import limit_mlflow_waits, settings

PORT = 8643
_LOG = logging.getLogger(__name__)


def monitor(
    *, root: Path, host: str, port: int, days: float, pause_s: float, reconcile_s: float, dead_after_s: float
) -> str:
    """Answer until SIGTERM or SIGINT; raises MonitorPortError where the port can't be had."""
    from components.monitor_root.collector import MlflowCollector, RootCollector
    from components.monitor_root.reconciler import Reconciler
    from components.monitor_root.server import answering

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    limit_mlflow_waits()
    services = settings().model_copy(update={"root": root})
    collector = RootCollector(root, services, days=days, pause_s=pause_s)
    reconciler = Reconciler(root, services, pause_s=reconcile_s, dead_after_s=dead_after_s)
    with answering(collector, MlflowCollector(reconciler), host=host, port=port) as url, reconciler:
        _LOG.info("metrics of %s at %s/metrics", root, url)
        stop.wait()
    return f"stopped monitoring {root}"


def main(argv: list[str] | None = None) -> int:
    """Run the monitor from the command line."""

    def work() -> str:
        parser = Arguments(
            prog="python -m components.monitor_root",
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument(
            "--root", type=Path, default=settings().root_path, help="shared root (default: %(default)s)"
        )
        parser.add_argument("--host", default="0.0.0.0", help="address to listen on (default: %(default)s)")  # noqa: S104
        parser.add_argument("--port", type=int, default=PORT, help="0 takes any free one (default: %(default)s)")
        parser.add_argument("--days", type=float, default=7.0, help="how long ago is lately (default: %(default)s)")
        parser.add_argument(
            "--pause", type=float, default=10.0, metavar="SECONDS", help="between two looks (default: %(default)s)"
        )
        parser.add_argument(
            "--reconcile", type=float, default=15.0, metavar="SECONDS",
            help="between two comparisons of MLflow with the ledger (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument(
            "--dead-after", type=float, default=300.0, metavar="SECONDS",
            help="without a change of its heartbeat, after which a training is dead (default: %(default)s)",
        )  # fmt: skip
        given = parser.parse_args(argv)
        _require(given)
        return monitor(
            root=given.root.expanduser().absolute(),
            host=given.host,
            port=given.port,
            days=given.days,
            pause_s=given.pause,
            reconcile_s=given.reconcile,
            dead_after_s=given.dead_after,
        )

    return run_program(work)


def _require(given: argparse.Namespace) -> None:
    if not 0 <= given.port <= 65535:
        raise InvalidValueError("--port", given.port, expected="0 to 65535")
    if not given.days > 0:
        raise InvalidValueError("--days", given.days, expected="more than 0")
    if not given.pause >= 0:
        raise InvalidValueError("--pause", given.pause, expected="0 or more")
    for name, value in (("--reconcile", given.reconcile), ("--dead-after", given.dead_after)):
        if not value > 0:
            raise InvalidValueError(name, value, expected="more than 0")
