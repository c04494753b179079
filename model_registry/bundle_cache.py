"""The cache of bundles below this machine's root, filled from the model store if one is configured."""

from pathlib import Path

from model_registry.bundle import MANIFEST_FILE, Bundle
from model_registry.errors import BundleAwayError
from model_registry.model_store import ModelStore, damage_of
from model_registry.state import VersionState
from spine.blob_store import BlobStoreError
from spine.errors import DigestMismatchError, MalformedFileError


class BundleCache:
    """Bundles in the folders that the ledger names; whether a version may be used is asked before."""

    def __init__(self, root: Path, store: ModelStore | None) -> None:
        self._root, self._store = root, store

    def keep(self, bundle: Bundle) -> None:
        """Put a verified bundle where other machines find it; raises BlobStoreError if the store rejects it."""
        if self._store:
            self._store.send(bundle)

    def location(self, bundle: Bundle) -> str:
        """Return the URI where a bundle is kept for good: the model store's, or that of its own folder."""
        return self._store.location(bundle.digest) if self._store else bundle.folder.absolute().as_uri()

    def bundle(self, known: VersionState) -> Bundle:
        """Return a version's bundle, not yet verified where it was here; raises BundleAwayError."""
        folder = self._root / known.bundle
        if self._store is None or (folder / MANIFEST_FILE).is_file():
            return Bundle(folder)
        return self._fetched(known, self._store)

    def verified_bundle(self, known: VersionState) -> Bundle:
        """Return a version's bundle, verified.

        Raises BundleAwayError where it is missing or damaged here and the store does not give it and, without a store,
        DigestMismatchError or MissingPathError naming the file.
        """
        folder = self._root / known.bundle
        damage = damage_of(folder, digest=known.model_digest)
        if damage is None:
            return Bundle(folder)
        if self._store is None:
            raise damage
        return self._fetched(known, self._store)

    def _fetched(self, known: VersionState, store: ModelStore) -> Bundle:
        folder = self._root / known.bundle
        try:
            return store.fetch(known.model_digest, folder)
        except (BlobStoreError, DigestMismatchError, MalformedFileError) as error:
            raise BundleAwayError(known.version, folder=folder, reason=str(error)) from error
        except OSError as error:
            reason = f"{error.filename or folder}: {(error.strerror or str(error)).lower()}"
            raise BundleAwayError(known.version, folder=folder, reason=reason) from error
