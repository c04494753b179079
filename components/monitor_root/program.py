"""Tell Prometheus how a shared root stands: trainings, verdicts, ledger and servers, also when no pod is left to ask.

Answers GET /metrics and GET /healthz until SIGTERM. Only reads: the root may be mounted read-only, and the ledger's
store (SPINELINE_LEDGER) needs no more than the right to list and get. The root is looked at when it is scraped, at most
once in --pause seconds; of a journal only what is new is read. Labels name the candidates and evaluations that were
active in the last --days days, at most 20 of each, by the first 12 digits of their digests.
"""

import argparse
import logging
import signal
import threading
from pathlib import Path

from spine.arguments import Arguments
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.settings import settings

PORT = 8643
_LOG = logging.getLogger(__name__)


def monitor(*, root: Path, host: str, port: int, days: float, pause_s: float) -> str:
    """Answer until SIGTERM or SIGINT; raises MonitorPortError where the port can't be had."""
    from components.monitor_root.collector import RootCollector
    from components.monitor_root.server import answering

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    collector = RootCollector(root, settings(), days=days, pause_s=pause_s)
    with answering(collector, host=host, port=port) as url:
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
        given = parser.parse_args(argv)
        _require(given)
        root = given.root.expanduser().absolute()
        return monitor(root=root, host=given.host, port=given.port, days=given.days, pause_s=given.pause)

    return run_program(work)


def _require(given: argparse.Namespace) -> None:
    if not 0 <= given.port <= 65535:
        raise InvalidValueError("--port", given.port, expected="0 to 65535")
    if not given.days > 0:
        raise InvalidValueError("--days", given.days, expected="more than 0")
    if not given.pause >= 0:
        raise InvalidValueError("--pause", given.pause, expected="0 or more")
