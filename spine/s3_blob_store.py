"""A blob store on S3: contents below a prefix of a bucket, created only if absent where the store can do that."""

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from spine.blob_store import BlobMissingError, BlobStoreError, BlobStoreUnreachableError, checked_name
from spine.errors import InvalidValueError
from spine.s3 import IMPATIENT, code_of, open_client, split_url
from spine.storage import atomic_file

_CONNECTIONS = 16
_PROBE = ".create-if-absent"
_PROBE_CONTENTS = (b"Spineline asks by this name", b"whether the store creates objects only if absent.")
_MISSING = ("NoSuchKey", "404", "NotFound")
_TAKEN = ("PreconditionFailed", "412")
_UNDECIDED = ("ConditionalRequestConflict", "409", "OperationAborted")
"""Somebody else's write to the name is under way: the store asks to try again."""
_UNDECIDED_TRIES, _UNDECIDED_PAUSE_S = 5, 0.2
_REFUSED = ("AccessDenied", "403", "Forbidden", "NotImplemented", "501", "MethodNotAllowed")


class S3BlobStore:
    """Contents as objects; credentials come from boto3's own chain, and nothing is asked before the first use."""

    def __init__(self, url: str, *, endpoint: str | None) -> None:
        self._bucket, self._prefix = split_url(url, what="place")
        self._endpoint = endpoint
        self._is_conditional = False

    @property
    def place(self) -> str:
        """The URL of the prefix."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def listed(self, prefix: str = "") -> dict[str, str]:
        """List objects, a thousand a request; a stamp is an object's ETag and size."""
        begin = f"{self._prefix}/" if self._prefix else ""
        with self._translate_errors(""):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=begin + prefix)
            held = {
                item["Key"].removeprefix(begin): f"{item['ETag']}-{item['Size']}"
                for page in pages
                for item in page.get("Contents", [])
            }
        return {name: stamp for name, stamp in sorted(held.items()) if not f"/{name}".count("/.")}

    def read(self, name: str) -> bytes:
        """Return the content of an object."""
        with self._translate_errors(name):
            content: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"].read()
            return content

    def create(self, name: str, content: bytes) -> bool:
        """Put an object by ``If-None-Match: *``; raises BlobStoreError where the store overwrites in spite of it.

        Where an answer got lost on its way, and the store has what was sent, it was taken.
        """
        self._require_conditional()
        return self._is_created(name, content)

    def replace(self, name: str, content: bytes) -> None:
        """Put an object."""
        with self._translate_errors(name):
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content)

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._translate_errors(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    def send(self, name: str, path: Path) -> None:
        """Upload a file, a large one in parts."""
        with self._translate_errors(name):
            self._client.upload_file(str(path), self._bucket, self._key(name))

    def fetch(self, name: str, target: Path) -> None:
        """Download an object into a file."""
        with self._translate_errors(name), atomic_file(target) as partial:
            self._client.download_file(self._bucket, self._key(name), str(partial))

    def neighbour(self, name: str) -> "S3BlobStore":
        """Return the blob store of a sibling prefix; raises InvalidValueError if this one is a whole bucket."""
        if not self._prefix:
            raise InvalidValueError("place", self.place, expected="s3://bucket/prefix: others lie beside it")
        above = self._prefix.rpartition("/")[0]
        url = "/".join(part for part in (f"s3://{self._bucket}", above, name) if part)
        return S3BlobStore(url, endpoint=self._endpoint)

    @cached_property
    def _client(self) -> Any:
        return open_client(self._endpoint, max_pool_connections=_CONNECTIONS, **IMPATIENT)

    def _key(self, name: str) -> str:
        return f"{self._prefix}/{checked_name(name)}".lstrip("/")

    def _require_conditional(self) -> None:
        """Create one name twice: a store that takes the second content would lose events."""
        if self._is_conditional:
            return
        if all(self._is_created(_PROBE, content) for content in _PROBE_CONTENTS):
            raise BlobStoreError(
                self.place,
                reason="the store overwrites what is to be created only if absent",
                expected="a store that honours If-None-Match",
            )
        self._is_conditional = True

    def _is_created(self, name: str, content: bytes) -> bool:
        from botocore.exceptions import ClientError, HTTPClientError

        def put() -> None:
            self._client.put_object(Bucket=self._bucket, Key=self._key(name), Body=content, IfNoneMatch="*")

        with self._translate_errors(name):
            try:
                _until_decided(put)
            except ClientError as error:
                if code_of(error) not in _TAKEN:
                    raise
                was_retried = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0
                return was_retried and self.read(name) == content
            except HTTPClientError as error:
                return self._is_there(name, content, else_raise=error)
        return True

    def _is_there(self, name: str, content: bytes, *, else_raise: Exception) -> bool:
        try:
            return self.read(name) == content
        except BlobMissingError:
            raise else_raise from None

    @contextlib.contextmanager
    def _translate_errors(self, name: str) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        place = "/".join(part for part in (self.place, name) if part)
        try:
            yield
        except ClientError as error:
            code = code_of(error)
            if code in _MISSING:
                raise BlobMissingError(place) from error
            kind = BlobStoreError if code in _REFUSED else BlobStoreUnreachableError
            raise kind(place, reason=f"the store answered {code}") from error
        except (BotoCoreError, Boto3Error) as error:
            raise BlobStoreUnreachableError(place, reason=str(error), expected="a store that answers") from error


def _until_decided(put: Callable[[], None]) -> None:
    from botocore.exceptions import ClientError

    for attempt in range(1, _UNDECIDED_TRIES + 1):
        try:
            put()
            return
        except ClientError as error:
            if code_of(error) not in _UNDECIDED or attempt == _UNDECIDED_TRIES:
                raise
            time.sleep(_UNDECIDED_PAUSE_S * attempt)
