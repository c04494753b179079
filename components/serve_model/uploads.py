"""The body of a request into one file, raw or out of a multipart form, counted while it arrives."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from components.serve_model.disk import Desk
from components.serve_model.errors import StalledUploadError, StorageError, TooLargeError, UnreadableScanError
from components.serve_model.limits import MIB
from components.serve_model.upload_quota import Sender

_FIELD, _FILE = "file", "upload"
_STALLED_S = 60.0
_LONGEST_S = 1800.0
_LEAST_BYTES_A_SECOND = 16 << 10
"""Mean of an upload, after its first ``_STALLED_S`` seconds: a trickle would never stall."""
_LONGEST_BOUNDARY = 70
"""By RFC 2046."""
_MOST_PARTS = 64
_FORM_ROOM = MIB
"""What a form may hold beside the file: boundaries, headers, small fields."""


async def receive(request: Request, desk: Desk, *, sender: Sender, limit_bytes: int) -> Path:
    """Write the scan in the request's body to a file on ``desk``; raises ServeError where it is too large or missing.

    Starlette's own form parser is not used: it has no limit on a file's size and spools to the system's folder.
    """
    content_type, options = parse_options_header(request.headers.get("content-type"))
    is_form = content_type == b"multipart/form-data"
    room = limit_bytes + (_FORM_ROOM if is_form else 0)
    chunks = _counted(request, desk, sender, room=room, limit_bytes=limit_bytes)
    with _stored(desk) as sink:
        if is_form:
            await _receive_form(chunks, sink, boundary=options.get(b"boundary", b""))
        else:
            await _receive_plain(chunks, sink)
    return _sized(desk, limit_bytes=limit_bytes)


async def receive_plain(request: Request, desk: Desk, *, sender: Sender, limit_bytes: int) -> Path:
    """Write the request's body to a file on ``desk``, whatever it is; raises ServeError."""
    with _stored(desk) as sink:
        await _receive_plain(_counted(request, desk, sender, room=limit_bytes, limit_bytes=limit_bytes), sink)
    return _sized(desk, limit_bytes=limit_bytes)


@contextmanager
def _stored(desk: Desk) -> Iterator[BinaryIO]:
    try:
        with (desk.folder / _FILE).open("wb") as sink:
            yield sink
    except ClientDisconnect as error:
        raise UnreadableScanError("ended before it was whole") from error
    except OSError as error:
        raise StorageError from error


def _sized(desk: Desk, *, limit_bytes: int) -> Path:
    size = (desk.folder / _FILE).stat().st_size
    if size == 0:
        raise UnreadableScanError("is empty")
    if size > limit_bytes:
        raise _too_large(limit_bytes)
    return desk.folder / _FILE


async def _receive_plain(chunks: AsyncIterator[bytes], sink: BinaryIO) -> None:
    async for chunk in chunks:
        sink.write(chunk)


async def _counted(
    request: Request, desk: Desk, sender: Sender, *, room: int, limit_bytes: int
) -> AsyncIterator[bytes]:
    """Yield the body as it comes, counted as taken on ``desk``; beyond ``room`` bytes it raises TooLargeError."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > room:
        raise _too_large(limit_bytes)
    body, began = request.stream(), time.monotonic()
    while True:
        _require_pace(sender.sent_bytes, time.monotonic() - began)
        try:
            # A client that sends nothing more would keep a place among those who wait.
            async with asyncio.timeout(_STALLED_S):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise StalledUploadError(f"nothing of the upload came for {_STALLED_S:g} s") from error
        if sender.sent_bytes + len(chunk) > room:
            raise _too_large(limit_bytes)
        sender.take(len(chunk))
        desk.take(len(chunk))
        yield chunk


def _require_pace(received_bytes: int, elapsed_s: float) -> None:
    if elapsed_s > _LONGEST_S:
        raise StalledUploadError(f"the upload was not whole after {_LONGEST_S:g} s")
    if received_bytes < (elapsed_s - _STALLED_S) * _LEAST_BYTES_A_SECOND:
        raise StalledUploadError(f"only {received_bytes} bytes of the upload came in {elapsed_s:.0f} s")


async def _receive_form(chunks: AsyncIterator[bytes], sink: BinaryIO, *, boundary: bytes) -> None:
    if not boundary:
        raise UnreadableScanError("is a form without a boundary")
    if len(boundary) > _LONGEST_BOUNDARY:
        raise UnreadableScanError(f"is a form with a boundary of over {_LONGEST_BOUNDARY} characters")
    form = _Form(sink)
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": form.on_part_begin,
            "on_header_field": form.on_header_field,
            "on_header_value": form.on_header_value,
            "on_header_end": form.on_header_end,
            "on_headers_finished": form.on_headers_finished,
            "on_part_data": form.on_part_data,
            "on_end": form.on_end,
        },
    )
    try:
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise UnreadableScanError("is no well-formed multipart form") from error
    if not form.found:
        raise UnreadableScanError(f"is a form without the field '{_FIELD}'")
    if not form.ended:
        raise UnreadableScanError("is a form that breaks off")


class _Form:
    """Callbacks of the form's parser: the bytes of the field ``file`` go to the sink, others are passed over."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self._name, self._value = b"", b""
        self._disposition = b""
        self._is_wanted = False
        self._parts = 0
        self.found, self.ended = False, False

    def on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise UnreadableScanError(f"is a form of over {_MOST_PARTS} parts")
        self._name, self._value, self._disposition = b"", b"", b""
        self._is_wanted = False

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._is_wanted = options.get(b"name") == _FIELD.encode() and not self.found
        self.found = self.found or self._is_wanted

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_wanted:
            self._sink.write(data[start:end])

    def on_end(self) -> None:
        self.ended = True


def _too_large(limit_bytes: int) -> TooLargeError:
    return TooLargeError("the upload is too large", limit=f"{limit_bytes / MIB:g} MiB")
