"""Servers on a free loopback port: the real app under uvicorn, in a thread of the test process."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from components.serve_model.limits import Limits
from components.serve_model.service import Service
from spine.phantom import make_scan
from spine.volume.nifti import Volume, write_volume


@dataclass(frozen=True)
class Server:
    """A running server and a client of it."""

    client: httpx.Client
    root: Path
    service: Service

    def version(self) -> int | None:
        return self.client.get("/readyz").json().get("version")

    def wait_for(self, version: int | None) -> None:
        self.wait_until(lambda: self.version() == version, told=f"version {version} to be live")

    def wait_until(self, condition: Callable[[], bool], *, told: str) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {told}: {self.client.get('/v1/model').text}"
            time.sleep(0.02)

    def files(self) -> list[Path]:
        """What lies on its desks and among its results."""
        return [path for path in self.service.disk.folder.rglob("*") if path.is_file() and path.name != ".lock"]

    def segment(self, content: bytes, **headers: str) -> httpx.Response:
        return self.client.post("/v1/segmentations", content=content, headers=headers)


@contextmanager
def running(root: Path, limits: Limits, tokens: Path | None = None) -> Iterator[Server]:
    import uvicorn

    from components.serve_model.access import Guard
    from components.serve_model.app import create_app
    from components.serve_model.tokens import Tokens

    listener = socket.create_server(("127.0.0.1", 0))
    service = Service(root=root, limits=limits, threads=1, poll_s=0.05, retry_pause_s=0.2)
    app = create_app(service, guard=Guard(None if tokens is None else Tokens(tokens)))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield Server(client=client, root=root, service=service)
    finally:
        server.should_exit = True
        thread.join(20)
        listener.close()
        assert not thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """A function of a root that starts a server, ended with the test."""
    with ExitStack() as stack:

        def start(root: Path, *, limits: Limits | None = None, tokens: Path | None = None) -> Server:
            return stack.enter_context(running(root, limits or Limits(), tokens))

        yield start


@pytest.fixture(scope="session")
def scan() -> Volume:
    """A phantom scan stored in an orientation other than the model's."""
    return make_scan(seed=7, patient=1, first=20, last=23, spacing_mm=(6.0, 6.0, 6.0), orientation="PIR").image


@pytest.fixture(scope="session")
def scan_bytes(scan: Volume, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The scan as ``.nii.gz``."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_volume(path, scan)
    return path.read_bytes()
