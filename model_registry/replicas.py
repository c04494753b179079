"""Reports of the servers, in a blob store beside the ledger: the version that each one serves, and load failures."""

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import ConfigDict

from model_registry.ledger import Event
from spine.blob_store import BlobStore, BlobStoreUnreachableError
from spine.errors import SpinelineError
from spine.values import FormatNumber, Value

REPORTS = "replicas"
REPORTED_EVERY_S = 5.0
FRESH_S = 20.0
"""A server that has said nothing for as long has ended, or is cut off; clocks may differ by less."""


class LoadFailure(Value):
    """Why a version could not go live in a server."""

    version: int
    event: int
    """Number of the newest event when it was tried."""
    reason: str
    at: str
    """UTC, ISO 8601."""
    attempts: int
    is_passing: bool = False
    """Whether a later try may well succeed, because a store did not answer."""


class ReplicaReport(Value):
    """One server as it reports itself; a field that a newer server adds is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: FormatNumber = 2
    """Servers of two releases report during an upgrade: of a later format, what is known here is read."""
    name: str
    url: str
    pid: int
    version: int | None
    """The version that it answers with."""
    event: int
    """Number of the newest event of the ledger that it has seen; 0 before the first."""
    event_digest: str | None
    golden_dice: float | None
    failure: LoadFailure | None
    ledger_problem: str | None
    at: str
    """UTC, ISO 8601, with milliseconds."""

    @property
    def is_fresh(self) -> bool:
        """Whether it was written within the last 20 s."""
        return abs((datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()) < FRESH_S

    def follows(self, event: Event) -> bool:
        """Tell whether the server has seen this very ``event`` and answers with the version that it put in use."""
        if self.ledger_problem is not None or self.version != event.to_version:
            return False
        is_same = self.event_digest == event.digest
        return is_same if self.event == event.number else self.event > event.number

    def failed_on(self, event: Event) -> bool:
        """Tell whether the server tried what ``event`` put in use and can't have it."""
        failure = self.failure
        if failure is None or failure.is_passing:
            return False
        return failure.event >= event.number and failure.version == event.to_version

    def problem(self) -> str:
        """Say in a few words why this server is behind."""
        has = "no version" if self.version is None else f"version {self.version}"
        if self.failure is not None:
            return f"{self.name} has {has}: {self.failure.reason}"
        if not self.is_fresh:
            return f"{self.name} has said nothing since {self.at}"
        if self.ledger_problem is not None:
            return f"{self.name} has {has}: {self.ledger_problem}"
        return f"{self.name} has {has}"


class Replicas:
    """The reports of all servers of one ledger; a report that was read is not read again before it changes."""

    def __init__(self, blob_store: BlobStore) -> None:
        self._blob_store = blob_store
        self._read: dict[str, tuple[str, ReplicaReport]] = {}

    @property
    def is_remote(self) -> bool:
        """Whether every look costs requests over the network."""
        return "://" in self._blob_store.place

    def reports(self) -> list[ReplicaReport]:
        """Return all reports by name; raises BlobStoreUnreachableError where they can't be looked at."""
        stamps = {name: stamp for name, stamp in self._blob_store.listed().items() if name.endswith(".json")}
        read = {name: self._report(name, stamp) for name, stamp in sorted(stamps.items())}
        self._read = {name: (stamps[name], report) for name, report in read.items() if report is not None}
        return [report for _, report in self._read.values()]

    def fresh(self) -> list[ReplicaReport]:
        """Return the reports of the servers that are there."""
        return [report for report in self.reports() if report.is_fresh]

    def write(self, report: ReplicaReport) -> None:
        """Put a server's report in the place of its last one."""
        self._blob_store.replace(f"{report.name}.json", (report.model_dump_json() + "\n").encode())

    def remove(self, name: str) -> None:
        """Remove the report of a server that has ended."""
        self._blob_store.remove(f"{name}.json")

    def _report(self, name: str, stamp: str) -> ReplicaReport | None:
        known = self._read.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            return ReplicaReport.from_json(self._blob_store.read(name).decode(errors="replace"), where=name)
        except BlobStoreUnreachableError:
            raise
        except SpinelineError:
            # Removed since it was listed, or no report at all.
            return None


def counted(reports: Sequence[ReplicaReport], event: Event) -> list[ReplicaReport]:
    """Return the reports that must follow ``event``.

    They are the servers that are there, and those that fell silent after they had seen it: a version that kills its
    servers must not count as live everywhere.
    """
    return [report for report in reports if report.is_fresh or report.event >= event.number]
