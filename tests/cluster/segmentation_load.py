"""Requests to the server: one scan after the other from several threads, each answer kept."""

import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Segmentation:
    """The answer to one scan."""

    status: int
    """HTTP status; 0 where no answer came."""
    version: str
    """Version that answered, or the error."""
    mask: bytes = b""


def segment(address: str, scan: bytes, *, token: str | None) -> Segmentation:
    """Send a scan and return the answer, whatever it is."""
    headers = {"Content-Type": "application/octet-stream"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(f"{address}/v1/segmentations", data=scan, headers=headers, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as answer:
            return Segmentation(answer.status, answer.headers.get("X-Spineline-Version", ""), answer.read())
    except urllib.error.HTTPError as error:
        return Segmentation(error.code, error.read().decode(errors="replace")[:500])
    except OSError as error:
        return Segmentation(0, repr(error))


@dataclass
class Load:
    """Clients that send scans until they are stopped."""

    address: str
    scan: bytes
    token: str | None
    clients: int = 2
    answers: list[Segmentation] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> "Load":
        """Start the clients."""
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(self.clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the clients after their last answer."""
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=150)

    def wait_for_version(self, version: int, *, timeout_s: float = 60) -> None:
        """Wait until an answer of a version came."""
        deadline = time.monotonic() + timeout_s
        while not any(one.version == str(version) for one in list(self.answers)):
            assert time.monotonic() < deadline, f"no answer of version {version}: {self.answers[-3:]}"
            time.sleep(0.2)

    @property
    def failed(self) -> list[Segmentation]:
        """Answers other than 200."""
        return [one for one in self.answers if one.status != 200]

    def _send(self) -> None:
        while not self._stop.is_set():
            self.answers.append(segment(self.address, self.scan, token=self.token))


def phantom_scan(path: Path) -> bytes:
    """Write a small phantom scan and return its bytes."""
    from spine.phantom import make_scan
    from spine.volume.nifti import write_volume

    write_volume(path, make_scan(seed=7, patient=1, first=20, last=23, spacing_mm=(6.0, 6.0, 6.0)).image)
    return path.read_bytes()
