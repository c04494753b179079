"""Object stores that a data set is pulled from: a folder or any S3 endpoint, behind one small interface."""

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from spine.errors import InvalidValueError, MissingPathError, SpinelineError
from spine.s3 import code_of, open_client, split_url

Block = bytes | memoryview
"""A part of an object, good until the next one is asked for."""

BLOCK_BYTES = 1 << 20
_TRIES = 4
_WAIT_S = 0.2
_LANE_TIMEOUT_S = 10.0
_SIGNED_FOR_S = 300
"""A signed URL lies in the store's log: it should not be good for long."""
_WHOLE_STORE = frozenset(
    ("NoSuchBucket", "AllAccessDisabled", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
)
"""Codes of S3 that say as much of every other object."""


class ObjectUnavailableError(SpinelineError):
    """An object of a store is missing, forbidden or can't be read."""

    def __init__(self, place: str, *, reason: str) -> None:
        self.place = place
        self.reason = " ".join(reason.split())
        super().__init__(f"{place}: {self.reason}; expected an object that can be read")


class StoreUnreachableError(ObjectUnavailableError):
    """A store gives no object at all: nobody answers, there are no keys, or there is no such bucket."""


class ObjectStore(Protocol):
    """A place that holds whole objects by key; it may be read from many threads at once."""

    def blocks(self, key: str) -> Iterator[Block]:
        """Yield an object's content in order, in blocks.

        Raises ObjectUnavailableError naming the object, StoreUnreachableError where no other could be had either.
        """


class FolderStore:
    """Objects as files below a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise MissingPathError(folder, expected="the folder of a DVC remote (was the data set pushed?)")
        self._folder = folder

    def blocks(self, key: str) -> Iterator[Block]:
        """Yield the file of ``key``."""
        source = self._folder / key
        try:
            with source.open("rb", buffering=0) as stream:
                while block := stream.read(BLOCK_BYTES):
                    yield block
        except OSError as error:
            # A share that was unmounted takes all of its objects with it.
            kind = ObjectUnavailableError if self._folder.is_dir() else StoreUnreachableError
            raise kind(str(source), reason=(error.strerror or "unreadable").lower()) from error


class S3Store:
    """Objects below a prefix of an S3 bucket; credentials come from boto3's own chain."""

    def __init__(self, url: str, *, endpoint: str | None, connections: int) -> None:
        from botocore.exceptions import BotoCoreError
        from botocore.utils import get_environ_proxies

        self._bucket, self._prefix = split_url(url, what="remote")
        try:
            self._client: Any = open_client(endpoint, max_pool_connections=connections)
        except BotoCoreError as error:
            # Half a key, or a profile that is not there.
            raise StoreUnreachableError(f"s3://{self._bucket}", reason=str(error)) from error
        # Only boto3 knows how to go through a proxy.
        self._lane = _Lane(self._client, self._bucket, is_open=not get_environ_proxies(self._client.meta.endpoint_url))

    def blocks(self, key: str) -> Iterator[Block]:
        """Yield the object of ``key``; a connection that breaks off is taken up again at the byte reached."""
        from botocore.exceptions import BotoCoreError

        name = f"{self._prefix}/{key}".lstrip("/")
        reached, broken = 0, 0
        if answer := self._lane.get(name):
            whole = answer.length
            for part in self._lane.blocks(answer):
                reached += len(part)
                yield part
            if reached == whole:
                return
        while True:
            body = self._body(name, start=reached)
            begun = reached
            try:
                with closing(body):
                    while block := body.read(BLOCK_BYTES):
                        reached += len(block)
                        yield block
                return
            except BotoCoreError as error:
                # A long object over a poor line may break often, as long as it gets on.
                broken = 1 if reached - begun >= BLOCK_BYTES else broken + 1
                if broken == _TRIES:
                    reason = f"broke off {broken} times, last after {reached} bytes ({error})"
                    raise ObjectUnavailableError(self._place(name), reason=reason) from error
                time.sleep(_WAIT_S * broken)

    def _body(self, name: str, *, start: int) -> Any:
        """Ask for an object from byte ``start`` on and return its body, not yet read."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        rest = {"Range": f"bytes={start}-"} if start else {}
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=name, **rest)
            if start and answer["ResponseMetadata"]["HTTPStatusCode"] != 206:
                # A store that knows no ranges sends the whole object again.
                _skip(answer["Body"], start)
        except ClientError as error:
            raise self._refused(name, error) from error
        except HTTPClientError as error:
            raise ObjectUnavailableError(self._place(name), reason=str(error)) from error
        except BotoCoreError as error:
            raise StoreUnreachableError(self._place(name), reason=str(error)) from error
        return answer["Body"]

    def _refused(self, name: str, error: Any) -> ObjectUnavailableError:
        code = code_of(error)
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        message = code if status in code else f"{status} {code}"
        kind = StoreUnreachableError if code in _WHOLE_STORE else ObjectUnavailableError
        return kind(self._place(name), reason=f"the store answered {message}")

    def _place(self, name: str) -> str:
        return f"s3://{self._bucket}/{name}"


class _Lane:
    """Plain GETs of URLs that boto3 signs, a connection and a buffer a thread.

    A call of boto3 costs a millisecond of Python, as much as hashing half a megabyte, and its bodies are copied once
    more. Here is no judgement: any answer that isn't plainly the object, and any error, is left to boto3, which
    retries, follows to another region, knows the user's certificates, or says what is wrong.
    """

    def __init__(self, client: Any, bucket: str, *, is_open: bool) -> None:
        self._client = client
        self._bucket = bucket
        self._is_open = is_open
        self._thread = threading.local()

    def get(self, name: str) -> http.client.HTTPResponse | None:
        """Ask for an object; return the answer, its content still to be read, or None where boto3 has to ask."""
        from botocore.exceptions import BotoCoreError

        if not self._is_open:
            return None
        try:
            asked = {"Bucket": self._bucket, "Key": name}
            parts = urlsplit(self._client.generate_presigned_url("get_object", Params=asked, ExpiresIn=_SIGNED_FOR_S))
            connection = self._connection(parts.scheme, parts.netloc)
            connection.request("GET", f"{parts.path}?{parts.query}", headers={"Accept-Encoding": "identity"})
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException, BotoCoreError):
            self._close()
            return None
        if answer.status == 200 and answer.length is not None:
            return answer
        # That an object is missing says nothing of the others.
        self._close(for_good=answer.status != 404)
        return None

    def blocks(self, answer: http.client.HTTPResponse) -> Iterator[memoryview]:
        """Yield an answer's content; where it breaks off, there is less of it."""
        buffer = self._thread.buffer
        try:
            while count := answer.readinto(buffer):
                yield buffer[:count]
        except (OSError, http.client.HTTPException):
            self._close()
        finally:
            if answer.length:
                self._close(for_good=False)

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        kept: http.client.HTTPConnection | None = getattr(self._thread, "connection", None)
        if kept is None:
            secure = scheme == "https"
            kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
            kept = self._thread.connection = kind(host, timeout=_LANE_TIMEOUT_S)
            self._thread.buffer = memoryview(bytearray(BLOCK_BYTES))
        return kept

    def _close(self, *, for_good: bool = True) -> None:
        """Drop this thread's connection, which may be in the middle of an answer, and the lane with it."""
        self._is_open = self._is_open and not for_good
        if kept := getattr(self._thread, "connection", None):
            kept.close()


def _skip(body: Any, count: int) -> None:
    while count and (block := body.read(min(count, BLOCK_BYTES))):
        count -= len(block)


def open_store(url: str, *, endpoint: str | None = None, relative_to: Path, connections: int = 10) -> ObjectStore:
    """Open the store that a DVC remote's URL names: ``s3://bucket/prefix`` or a folder.

    ``connections`` is how many threads will read from it at once.
    """
    scheme = urlsplit(url).scheme
    if scheme == "s3":
        return S3Store(url, endpoint=endpoint, connections=connections)
    if scheme in ("", "file"):
        # A plain path is no URL: it may hold '#' and '?'.
        return FolderStore((relative_to / (urlsplit(url).path if scheme else url)).resolve())
    raise InvalidValueError("remote", url, expected="a folder or s3://bucket/prefix")
