"""Pull a data set's revision into the shared root: every object checked by its hash, only what is missing moved."""

import argparse
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from components.pull_dataset.pointer import Pointer, resolve
from spine import progress
from spine.dataset import Manifest
from spine.errors import DigestMismatchError, MalformedFileError
from spine.logs import run_program
from spine.objects import ObjectStore, open_store
from spine.records import RECORD_FILE, DatasetRevision
from spine.settings import settings
from spine.steps import run_step
from spine.storage import atomic_file

STEP = "pull_dataset"
_PARALLEL = 8


@dataclass(frozen=True)
class _Entry:
    """One file of a DVC directory."""

    md5: str
    path: PurePosixPath


def pull_dataset(
    *, root: Path, repository: str, revision: str, remote: str | None = None, endpoint: str | None = None
) -> DatasetRevision:
    """Bring the data set of a git revision below ``root`` and return its record.

    Data that is there already is found by its DVC hash and not moved again; an interrupted pull goes on where it
    was. Raises ObjectUnavailableError or DigestMismatchError naming the object that is missing or damaged.
    """
    pointer = resolve(repository, revision, remote=remote, clones=root / "repositories")
    home = root / "datasets" / pointer.dvc_hash[:12]
    record_file = home / RECORD_FILE
    data = home / "data"
    if record_file.is_file() and data.is_dir():
        return DatasetRevision.read(record_file)
    if not data.is_dir():
        incoming = home / "incoming"
        store = open_store(pointer.remote, endpoint=endpoint, relative_to=pointer.relative_to)
        _pull(store, pointer, incoming)
        incoming.replace(data)
    manifest = Manifest.of(data)
    record = DatasetRevision(
        repository=repository,
        git_revision=pointer.git_revision,
        dvc_hash=pointer.dvc_hash,
        folder=data.relative_to(root).as_posix(),
        cases=len(manifest.cases),
        test_cases=len(manifest.members(split="test")),
    )
    record.write(record_file)
    return record


def _pull(store: ObjectStore, pointer: Pointer, incoming: Path) -> None:
    listing = incoming.parent / "listing.json"
    _fetch(store, pointer.dvc_hash, listing)
    entries = _entries(listing)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        pending = [pool.submit(_fetch, store, entry.md5, incoming / entry.path) for entry in entries]
        for count, done in enumerate(as_completed(pending), start=1):
            try:
                done.result()
            except Exception:
                pool.shutdown(cancel_futures=True)
                raise
            progress.report(STEP, "fetch and check", done=count, total=len(entries))
    _drop_others(incoming, {incoming / entry.path for entry in entries})


def _drop_others(incoming: Path, listed: set[Path]) -> None:
    """Remove what a killed pull left half-written beside the files of the data set."""
    for path in incoming.rglob("*"):
        if path.is_file() and path not in listed:
            path.unlink()


def _entries(listing: Path) -> list[_Entry]:
    try:
        rows = json.loads(listing.read_text(encoding="utf-8"))
        entries = [_Entry(md5=str(row["md5"]), path=PurePosixPath(row["relpath"])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedFileError(listing, reason="not a DVC directory listing", expected="md5 and relpath") from error
    for entry in entries:
        if entry.path.is_absolute() or ".." in entry.path.parts:
            raise MalformedFileError(listing, reason=f"path {entry.path} leaves the data set", expected="inner paths")
    return entries


def _fetch(store: ObjectStore, md5: str, target: Path) -> None:
    """Bring one object to its final name, unless content with its hash stands there already."""
    expected = md5.removesuffix(".dir")
    if target.is_file() and _md5(target) == expected:
        return
    with atomic_file(target) as partial:
        store.fetch(f"files/md5/{md5[:2]}/{md5[2:]}", partial)
        found = _md5(partial)
        if found != expected:
            raise DigestMismatchError(f"object {md5} for {target.name}", found=found, expected=expected)


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def step(*, root: str, repository: str, revision: str, remote: str) -> str:
    """Do the work of the pipeline's step: plain strings in, the record as text out; "" stands for no remote."""
    return run_step(
        STEP,
        lambda: pull_dataset(
            root=Path(root),
            repository=repository,
            revision=revision,
            remote=remote or None,
            endpoint=settings().s3_endpoint,
        ).text(),
    )


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the record is the last line of stdout."""

    def work() -> str:
        parser = argparse.ArgumentParser(prog="python -m components.pull_dataset", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--repository", default=settings().repository, help="git repository with dvc.lock")
        parser.add_argument("--revision", default="HEAD", help="branch, tag or commit (default: %(default)s)")
        parser.add_argument("--remote", default=settings().remote or "", help="URL in place of the repository's remote")
        given = parser.parse_args(argv)
        return step(**vars(given))

    return run_program(work)
