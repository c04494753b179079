"""Copies of a fold's checkpoints in an object store, sent in the background and fetched back where a disk was lost."""

import contextlib
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spine.errors import DigestMismatchError, SpinelineError
from spine.nnunet import checkpoint_files
from spine.nnunet.checkpoint_files import FINAL, KEPT, SEAL_SUFFIX
from spine.s3 import IMPATIENT, code_of, open_client, split_url
from spine.storage import atomic_file, digest_file, link, write_text

_LOG = logging.getLogger(__name__)
_RETRY_S = 10.0
_BROKEN = (SpinelineError, OSError)
_REFUSED = frozenset(
    ("NoSuchBucket", "InvalidBucketName", "AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch")
)


class CopyFailedError(SpinelineError):
    """The object store did not take or give a checkpoint."""

    def __init__(self, place: str, *, reason: str) -> None:
        super().__init__(f"{place}: {' '.join(reason.split())}; expected a store that can be read and written")


class StoreRefusedError(CopyFailedError):
    """The object store answered that there is nothing to be had: no bucket, no right to it, no valid key."""


class CheckpointStore:
    """A fold's checkpoints below one prefix of an S3 bucket; credentials come from boto3's own chain."""

    def __init__(self, url: str, *, endpoint: str | None, prefix: str) -> None:
        from botocore.exceptions import BotoCoreError

        self._bucket, base = split_url(url, what="checkpoint store")
        self._prefix = "/".join(part for part in (base, prefix.strip("/")) if part)
        try:
            self._client: Any = open_client(endpoint, **IMPATIENT)
        except BotoCoreError as error:
            raise CopyFailedError(url, reason=str(error)) from error

    def put(self, path: Path, *, name: str) -> None:
        """Store a checkpoint and then its digest, by which it counts as whole."""
        with self._translate_errors(name):
            self._client.upload_file(str(path), self._bucket, self._key(name))
            digest = digest_file(path).encode()
            self._client.put_object(Bucket=self._bucket, Key=self._key(name + SEAL_SUFFIX), Body=digest)

    def names(self) -> list[str]:
        """Return the names of the checkpoints that are whole, the newest first."""
        with self._translate_errors(""):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}/"
            )
            held = [item["Key"].rpartition("/")[2] for page in pages for item in page.get("Contents", [])]
        sealed = {name.removesuffix(SEAL_SUFFIX) for name in held if name.endswith(SEAL_SUFFIX)}
        whole = [(checkpoint_files.position_of(name), name) for name in held if name in sealed]
        return [name for _, name in sorted(((at, name) for at, name in whole if at), reverse=True)]

    def fetch(self, name: str, folder: Path) -> Path:
        """Bring a checkpoint into a fold's folder; raises DigestMismatchError where it isn't what was stored."""
        with self._translate_errors(name):
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name + SEAL_SUFFIX))
            expected = answer["Body"].read(200).decode("utf-8", "replace").strip()
            with atomic_file(folder / name) as partial:
                self._client.download_file(self._bucket, self._key(name), str(partial))
                found = digest_file(partial)
                if found != expected:
                    raise DigestMismatchError(self._place(name), found=found, expected=expected)
                write_text(checkpoint_files.seal_of(folder / name), found + "\n")
        return folder / name

    def discard(self, name: str) -> None:
        """Let a checkpoint that is not what it should be count no more: its digest is removed."""
        with self._translate_errors(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(name + SEAL_SUFFIX))

    def drop_outdated(self) -> None:
        """Remove all but the newest checkpoints, and all of them but the final one where that is there."""
        names = self.names()
        with self._translate_errors(""):
            for name in names[1 if FINAL in names else KEPT :]:
                for key in (self._key(name + SEAL_SUFFIX), self._key(name)):
                    self._client.delete_object(Bucket=self._bucket, Key=key)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _place(self, name: str) -> str:
        return f"s3://{self._bucket}/{self._key(name)}"

    @contextlib.contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ParamValidationError

        try:
            yield
        except (NoCredentialsError, ParamValidationError) as error:
            raise StoreRefusedError(self._place(name), reason=str(error)) from error
        except (BotoCoreError, ClientError, Boto3Error) as error:
            refused = isinstance(error, ClientError) and code_of(error) in _REFUSED
            kind = StoreRefusedError if refused else CopyFailedError
            raise kind(self._place(name), reason=str(error)) from error


class BackgroundCopies:
    """Sends each new checkpoint on while training goes on; where the line is slow, only the newest counts."""

    is_behind = False
    """Whether the last checkpoint that was tried did not get there."""

    def __init__(self, store: CheckpointStore) -> None:
        self._store = store
        self._waiting: Path | None = None
        self._changed = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="checkpoint-copies", daemon=True)
        self._thread.start()

    def send(self, path: Path) -> None:
        """Take a checkpoint to be copied and return at once; it may be dropped from its folder meanwhile."""
        kept = path.with_name(f".sending-{path.name}")
        kept.unlink(missing_ok=True)
        link(path, kept)
        with self._changed:
            if self._waiting and self._waiting != kept:
                self._waiting.unlink(missing_ok=True)
            self._waiting = kept
            self._changed.notify()

    def close(self, *, timeout_s: float) -> bool:
        """Wait until the last checkpoint was tried; return whether it got there within ``timeout_s``."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        return not (self._thread.is_alive() or self.is_behind)

    def _work(self) -> None:
        while kept := self._next():
            while not self._is_sent(kept) and not self._is_superseded():
                pass
            kept.unlink(missing_ok=True)

    def _is_sent(self, kept: Path) -> bool:
        name = kept.name.removeprefix(".sending-")
        try:
            self._store.put(kept, name=name)
            self._store.drop_outdated()
        except _BROKEN as error:
            _LOG.warning("checkpoint not copied: %s", error)
            self.is_behind = True
            return False
        self.is_behind = False
        return True

    def _is_superseded(self) -> bool:
        """Wait a while before the next try, unless there is a newer checkpoint or no time left."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: self._waiting or self._is_closing, timeout=_RETRY_S))

    def _next(self) -> Path | None:
        with self._changed:
            while self._waiting is None and not self._is_closing:
                self._changed.wait()
            kept, self._waiting = self._waiting, None
            return kept


def fetch_newer(
    store: CheckpointStore, folder: Path, *, than: Path | None, on_rejected: Callable[[str], None]
) -> tuple[Path, str] | None:
    """Fetch the newest checkpoint of a store that is newer than ``than``, a local one that verifies.

    Returns its path and digest, or None where there is none. What can't be had is told and passed over, what is not
    what it should be counts no more. Raises StoreRefusedError.
    """
    reached = checkpoint_files.position_of(than.name) if than else None
    try:
        names = store.names()
    except StoreRefusedError:
        raise
    except _BROKEN as error:
        on_rejected(f"copies of checkpoints are not looked at: {error}")
        return None
    for name in names:
        at = checkpoint_files.position_of(name)
        if reached and at and at <= reached:
            return None
        try:
            path = store.fetch(name, folder)
            return path, checkpoint_files.sealed_digest(path)
        except DigestMismatchError as error:
            on_rejected(str(error))
            store.discard(name)
        except _BROKEN as error:
            on_rejected(str(error))
    return None


def clear_unsent(folder: Path) -> None:
    """Remove what a killed training left of its sending and writing; nobody else may work on the fold."""
    for leftover in (*folder.glob(".sending-*"), *folder.glob(".partial-*")):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
