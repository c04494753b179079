"""Pull a data set's revision into the shared root: every object checked by its hash, only what is missing moved."""

import shutil
from pathlib import Path

from components.pull_dataset.dvc_lock import Pointer, resolve
from components.pull_dataset.fetching import PARALLEL, Fetch, key_of
from components.pull_dataset.listing import Contents, read_listing
from components.pull_dataset.local_objects import LocalObjects, flush_all
from components.pull_dataset.run_parameters import check_run_parameters
from components.pull_dataset.transfer_progress import STEP, Meter
from spine.arguments import Arguments
from spine.dataset import Manifest
from spine.errors import SpinelineError
from spine.logs import run_program
from spine.objects import ObjectStore, open_store
from spine.records import RECORD_FILE, DatasetRevision
from spine.settings import settings
from spine.steps import run_step
from spine.storage import read_json, write_json

_STAMPS_FILE = "stamps.json"


def pull_dataset(
    *, root: Path, repository: str, revision: str, remote: str | None = None, endpoint: str | None = None
) -> DatasetRevision:
    """Bring the data set of a git revision below ``root`` and return its record.

    A revision that is here, its files untouched since, is returned at once. Otherwise objects that an earlier or
    interrupted pull brought are checked and linked, and only the missing ones are fetched. Raises
    ObjectUnavailableError, DigestMismatchError or ObjectsUnavailableError naming what is missing, forbidden or damaged.
    """
    pointer = resolve(repository, revision, remote=remote, endpoint=endpoint, clones=root / "repositories")
    home = root / "datasets" / pointer.dvc_hash[:12]
    if found := _recorded(home):
        return found
    store = open_store(pointer.remote, endpoint=pointer.endpoint, relative_to=pointer.relative_to, connections=PARALLEL)
    with LocalObjects.opened(root / "objects") as local:
        # Another pull may have brought it while this one waited for its turn.
        if found := _recorded(home):
            return found
        contents = _fetch(store, local, pointer)
        _assemble(local, contents, home)
        write_json(home / _STAMPS_FILE, _stamps(home / "data"))
        if known := _record_of(home):
            # Plans and checkpoints quote it: data that are brought again keep the record that they had.
            return known
        manifest = Manifest.of(home / "data")
        record = DatasetRevision(
            repository=repository,
            git_revision=pointer.git_revision,
            dvc_hash=pointer.dvc_hash,
            folder=(home / "data").relative_to(root).as_posix(),
            cases=len(manifest.cases),
            test_cases=len(manifest.members(split="test")),
        )
        record.write(home / RECORD_FILE)
    return record


def _recorded(home: Path) -> DatasetRevision | None:
    """Return the record of data that are here as they were pulled; None where a file is gone or was written to."""
    stamps_file = home / _STAMPS_FILE
    if not (stamps_file.is_file() and (home / "data").is_dir()):
        return None
    try:
        is_untouched = read_json(stamps_file, expected="sizes and times of files") == _stamps(home / "data")
    except SpinelineError:
        return None
    return _record_of(home) if is_untouched else None


def _record_of(home: Path) -> DatasetRevision | None:
    """Return the record if it is there and whole."""
    try:
        return DatasetRevision.read(home / RECORD_FILE)
    except SpinelineError:
        return None


def _stamps(data: Path) -> dict[str, list[int]]:
    """Return size and time of change of every file, by which one that was touched is known without reading it."""
    found = ((path, path.stat()) for path in sorted(data.rglob("*")) if path.is_file())
    return {path.relative_to(data).as_posix(): [state.st_size, state.st_mtime_ns] for path, state in found}


def _fetch(store: ObjectStore, local: LocalObjects, pointer: Pointer) -> Contents:
    """Bring the listing and all that it lists among the local objects."""
    if local.size_if_whole(pointer.dvc_hash) is None:
        local.add(pointer.dvc_hash, store.blocks(key_of(pointer.dvc_hash)))
    contents = read_listing(local.path(pointer.dvc_hash))
    meter = Meter(total_bytes=pointer.size_bytes, objects=len(contents))
    Fetch(store=store, local=local, contents=contents, meter=meter).run()
    return contents


def _assemble(local: LocalObjects, contents: Contents, home: Path) -> None:
    """Make the revision's folder of links, under its final name once all of it is on the disk."""
    incoming, data = home / "incoming", home / "data"
    for left in (incoming, data):
        # Data without a record are not known to be whole: the machine may have stopped before they were.
        if left.exists():
            shutil.rmtree(left)
    incoming.mkdir(parents=True)
    targets = [(md5, incoming / path) for md5, paths in contents.items() for path in paths]
    for md5, target in targets:
        local.link(md5, target)
    flush_all(target for _, target in targets)
    incoming.replace(data)


def step(*, root: str, repository: str, revision: str, remote: str, recipe: str, policy: str, actor: str) -> str:
    """Do the work of the pipeline's step: plain strings in, the record as text out; "" stands for no remote.

    As the first step of a run it checks the parameters of later ones too, before it pulls.
    """

    def work() -> str:
        check_run_parameters(repository=repository, remote=remote, recipe=recipe, policy=policy, actor=actor)
        return _pulled(root, repository, revision, remote)

    return run_step(STEP, work)


def _pulled(root: str, repository: str, revision: str, remote: str) -> str:
    record = pull_dataset(
        root=Path(root),
        repository=repository,
        revision=revision,
        remote=remote or None,
        endpoint=settings().s3_endpoint,
    )
    return record.text()


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the record is the last line of stdout."""

    def work() -> str:
        parser = Arguments(prog="python -m components.pull_dataset", description=__doc__)
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--repository", default=settings().repository, help="git repository with dvc.lock")
        parser.add_argument("--revision", default="HEAD", help="branch, tag or commit (default: %(default)s)")
        parser.add_argument("--remote", default=settings().remote or "", help="URL in place of the repository's remote")
        given = parser.parse_args(argv)
        return run_step(STEP, lambda: _pulled(given.root, given.repository, given.revision, given.remote))

    return run_program(work)
