"""A small, fast S3 endpoint for measurements: it answers GET, HEAD and ListObjectsV2 from a folder.

A bucket is a folder below the root, a key a file below it. Nothing is written and no signature is checked.
"""

import argparse
import hashlib
import http.server
import os
import signal
import socketserver
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

_DATE = "Thu, 01 Jan 2026 00:00:00 GMT"
_STAMP = "2026-01-01T00:00:00.000Z"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one connection, request after request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    root: Path

    def do_GET(self) -> None:
        """Send an object, a part of one, or a listing."""
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if not key:
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            self._answer(200, _listed(self.root / bucket, bucket, query).encode())
            return
        try:
            stream = (self.root / bucket / key).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        with stream:
            size = os.fstat(stream.fileno()).st_size
            start, end = _range(self.headers.get("Range"), size)
            self.send_response(206 if end - start < size else 200)
            if end - start < size:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self._tell_of(key, end - start)
            if self.command == "GET":
                self.wfile.flush()
                self.connection.sendfile(stream, offset=start, count=end - start)

    def do_HEAD(self) -> None:
        """Say the same without the content."""
        self.do_GET()

    def _tell_of(self, key: str, length: int) -> None:
        self.send_header("Content-Length", str(length))
        self.send_header("Content-Type", "binary/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Last-Modified", _DATE)
        self.send_header("ETag", f'"{_etag(key)}"')
        self.end_headers()

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a log would be measured too."""


def _range(asked: str | None, size: int) -> tuple[int, int]:
    if not asked:
        return 0, size
    first, _, last = asked.removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, size) if last else size


def _etag(key: str) -> str:
    return hashlib.md5(key.encode(), usedforsecurity=False).hexdigest()


def _listed(folder: Path, bucket: str, query: dict[str, str]) -> str:
    """Return a page of ListObjectsV2; a page begins after the key that the token names."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    after, most = query.get("continuation-token", ""), int(query.get("max-keys", "1000"))
    keys = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    rows: dict[str, str] = {}
    for key in keys:
        if not key.startswith(prefix):
            continue
        name, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key, "", "")
        if found:
            group = prefix + name + delimiter
            rows[group] = f"<CommonPrefixes><Prefix>{escape(group)}</Prefix></CommonPrefixes>"
        else:
            rows[key] = (
                f"<Contents><Key>{escape(key)}</Key><LastModified>{_STAMP}</LastModified>"
                f"<ETag>&quot;{_etag(key)}&quot;</ETag><Size>{(folder / key).stat().st_size}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
    left = [name for name in sorted(rows) if name > after]
    page = left[:most]
    more = len(left) > most
    token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"
        f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        + "".join(rows[name] for name in page)
        + "</ListBucketResult>"
    )


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """A thread a connection."""

    daemon_threads = True
    request_queue_size = 128


def main(argv: list[str] | None = None) -> int:
    """Serve until ended; the first line of stdout is the URL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(argv)
    Handler.root = given.root
    server = Server(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_address[1]}\n")
    sys.stdout.flush()
    children = []
    # The processes accept on one socket: who loses the race for a connection must not wait for the next.
    server.socket.setblocking(False)
    for _ in range(given.processes - 1):
        child = os.fork()
        if not child:
            server.serve_forever()
        children.append(child)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        server.serve_forever()
    finally:
        for child in children:
            os.kill(child, signal.SIGTERM)
    return 0


if __name__ == "__main__":
    sys.exit(main())
