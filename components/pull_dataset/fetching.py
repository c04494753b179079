"""Fetches the objects of a data set that are not here yet: in parallel, each checked, the bad ones named together."""

import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from components.pull_dataset.listing import Contents
from components.pull_dataset.local_objects import DamagedObjectError, LocalObjects
from components.pull_dataset.transfer_progress import Meter
from spine.errors import SpinelineError
from spine.objects import Block, ObjectStore, ObjectUnavailableError, StoreUnreachableError

PARALLEL = 16
"""Objects at once. On two cores beside moto's server, 2, 4, 8 and 16 took the same time within its spread (hashing and
the server fill both cores); a store that is further away needs more of them to hide its latency."""

_TELL_EVERY_S = 0.5
_NAMED = 5


class ObjectsUnavailableError(SpinelineError):
    """Several objects of a data set are missing, forbidden or damaged; ``listed`` is the file that names all."""

    def __init__(self, failures: Sequence[str], *, objects: int, listed: Path) -> None:
        named = "; ".join(failures[:_NAMED])
        more = f"; and {len(failures) - _NAMED} more, all in {listed}" if len(failures) > _NAMED else ""
        super().__init__(
            f"{len(failures)} of {objects} objects can't be had: {named}{more}; expected whole objects (what did "
            "arrive is kept; dvc push trusts a store that holds the listing: remove it and what is damaged there, push "
            "again, then run this again)"
        )


def key_of(md5: str) -> str:
    """Return where a DVC remote keeps an object."""
    return f"files/md5/{md5[:2]}/{md5[2:]}"


class Fetch:
    """One pull's work on its objects, by as many threads as the store takes well."""

    def __init__(self, *, store: ObjectStore, local: LocalObjects, contents: Contents, meter: Meter) -> None:
        self._store = store
        self._local = local
        self._contents = contents
        self._meter = meter
        self._todo: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._failures: dict[str, ObjectUnavailableError | DamagedObjectError] = {}
        self._stop = threading.Event()

    def run(self) -> None:
        """Bring every object here; one that is bad doesn't hold up the others.

        Raises ObjectUnavailableError or DigestMismatchError for a single bad object, ObjectsUnavailableError naming
        several, and StoreUnreachableError at once where the store gives none.
        """
        for md5 in self._contents:
            self._todo.put(md5)
        with ThreadPoolExecutor(PARALLEL) as pool:
            pending = {pool.submit(self._work) for _ in range(PARALLEL)}
            try:
                while pending:
                    done, pending = wait(pending, timeout=_TELL_EVERY_S, return_when=FIRST_EXCEPTION)
                    for worker in done:
                        worker.result()
                    if pending:
                        self._meter.tell()
            finally:
                self._stop.set()
        self._meter.tell()
        self._raise_failures()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                md5 = self._todo.get_nowait()
            except queue.Empty:
                return
            try:
                self._bring(md5)
            except StoreUnreachableError:
                raise
            except (ObjectUnavailableError, DamagedObjectError) as error:
                self._failures[md5] = error

    def _bring(self, md5: str) -> None:
        files = len(self._contents[md5])
        size = self._local.size_if_whole(md5)
        if size is None:
            self._fetch(md5, files=files)
        else:
            self._meter.kept(size, files=files)
        self._meter.finished()

    def _fetch(self, md5: str, *, files: int) -> None:
        arrived = 0

        def counted() -> Iterator[Block]:
            nonlocal arrived
            for block in self._store.blocks(key_of(md5)):
                # What is cut short has another hash, so it takes no name.
                if self._stop.is_set():
                    return
                arrived += len(block)
                self._meter.read(len(block), files=files)
                yield block

        try:
            self._local.add(md5, counted())
        except SpinelineError:
            self._meter.revert(arrived, files=files)
            raise

    def _raise_failures(self) -> None:
        if len(self._failures) == 1:
            ((md5, error),) = self._failures.items()
            path = str(self._contents[md5][0])
            if isinstance(error, DamagedObjectError):
                raise DamagedObjectError(md5, found=error.found, path=path) from error
            raise ObjectUnavailableError(error.place, reason=f"{error.reason} (for {path})") from error
        if self._failures:
            # In the listing's order: two pulls of the same store say the same.
            described = [
                self._describe_failure(md5, self._failures[md5]) for md5 in self._contents if md5 in self._failures
            ]
            listed = self._local.note_failures(described)
            raise ObjectsUnavailableError(described, objects=len(self._contents), listed=listed)

    def _describe_failure(self, md5: str, error: ObjectUnavailableError | DamagedObjectError) -> str:
        if isinstance(error, DamagedObjectError):
            reason = f"damaged, its content has MD5 {error.found}"
        else:
            reason = error.reason
        return f"{self._contents[md5][0]} (object {md5}): {reason}"
