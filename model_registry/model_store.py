"""The model store: the bundles of all versions in one blob store, for machines that never held them."""

import fcntl
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_registry.bundle import MANIFEST_FILE, Bundle, BundleManifest
from spine.blob_store import BlobMissingError, BlobStore
from spine.errors import DigestMismatchError, MalformedFileError, SpinelineError
from spine.storage import atomic_folder, clear_leftovers, digest_file, short

_LOG = logging.getLogger(__name__)


class ModelStore:
    """Bundles as they are, each below the first digits of its digest; its manifest comes last and makes it whole.

    Every method raises BlobStoreError where the store is away or refuses.
    """

    def __init__(self, blob_store: BlobStore) -> None:
        self._blob_store = blob_store

    def location(self, digest: str) -> str:
        """Return the URI of a bundle's folder, whether it is there or not."""
        place = f"{self._blob_store.place}/{short(digest)}"
        return place if "://" in place else Path(place).as_uri()

    def holds(self, digest: str) -> bool:
        """Tell whether a bundle lies there with every file that its manifest names; no content but that is read."""
        try:
            manifest = self._manifest(digest)
        except (BlobMissingError, MalformedFileError, DigestMismatchError):
            return False
        listed = self._blob_store.listed(_name(digest, ""))
        return all(_name(digest, name) in listed for name in manifest.files)

    def send(self, bundle: Bundle) -> None:
        """Store a bundle that was verified; what of it is there already is not sent again."""
        listed = self._blob_store.listed(_name(bundle.digest, ""))
        for name in (*sorted(bundle.manifest.files), MANIFEST_FILE):
            if _name(bundle.digest, name) not in listed:
                self._blob_store.send(_name(bundle.digest, name), bundle.folder / name)

    def fetch(self, digest: str, target: Path) -> Bundle:
        """Bring a bundle into a folder, verified, as a whole or not at all; of several callers one does the work.

        What lies in the folder and is not that bundle is set aside as ``<folder>.damaged``. Raises
        DigestMismatchError naming the file where the store has another content.
        """
        with _alone(target):
            damage = damage_of(target, digest=digest)
            if damage is None:
                return Bundle(target)
            clear_leftovers(target)
            with atomic_folder(target) as partial:
                self._bring(digest, partial)
                if target.exists():
                    _set_aside(target, damage)
            return Bundle(target)

    def _bring(self, digest: str, folder: Path) -> None:
        for name, expected in self._manifest(digest).files.items():
            self._blob_store.fetch(_name(digest, name), folder / name)
            found = digest_file(folder / name)
            if found != expected:
                raise DigestMismatchError(f"{self.location(digest)}/{name}", found=found, expected=expected)
        self._blob_store.fetch(_name(digest, MANIFEST_FILE), folder / MANIFEST_FILE)
        Bundle(folder).require(digest)

    def _manifest(self, digest: str) -> BundleManifest:
        where = f"{self.location(digest)}/{MANIFEST_FILE}"
        text = self._blob_store.read(_name(digest, MANIFEST_FILE)).decode("utf-8", "replace")
        manifest = BundleManifest.from_json(text, where=where)
        if manifest.digest != digest:
            raise DigestMismatchError(where, found=manifest.digest, expected=digest)
        return manifest


def damage_of(folder: Path, *, digest: str) -> SpinelineError | None:
    """Return why a folder does not hold the whole bundle of ``digest``, or None where it does."""
    try:
        Bundle(folder).verify(expected=digest)
    except SpinelineError as error:
        return error
    return None


def _name(digest: str, name: str) -> str:
    return f"{short(digest)}/{name}"


def _set_aside(folder: Path, damage: SpinelineError) -> None:
    aside = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    _LOG.warning("a damaged bundle was set aside as %s and fetched again: %s", aside, damage)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Keep other threads and processes from bringing the same folder for the block."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
