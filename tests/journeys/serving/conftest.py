"""Real server processes below roots of their own, killed with the test, and a registry that they follow."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.models import check_golden_case, load_segmenter
from model_registry.promotion import Golden
from spine.phantom import make_scan
from spine.settings import settings
from spine.volume.nifti import write_volume

PROJECT = Path(__file__).resolve().parents[3]
_SERVE = ("-m", "components.serve_model")


@dataclass
class Server:
    """A server process and where it answers."""

    root: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.root / f"server-{self.port}.log"

    def start(self, *program: str) -> None:
        """Start it, or a ``program`` that is given the same arguments."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *(program or _SERVE), "--root", str(self.root), "--port", str(self.port)],
                stdout=log, stderr=log, cwd=PROJECT,
                env={**os.environ, "SPINELINE_THREADS": "1", "PYTHONUNBUFFERED": "1", **self.settings},
            )  # fmt: skip

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def model(self) -> dict[str, Any]:
        """What it says of itself; nothing while it does not answer."""
        with contextlib.suppress(httpx.HTTPError, ValueError), httpx.Client(trust_env=False, timeout=10) as client:
            return client.get(f"{self.url}/v1/model").json()
        return {}

    def version(self) -> int | None:
        return self.model().get("version")

    def wait_for(self, version: int | None) -> None:
        self.wait_until(lambda: self.model().get("version", 0) == version, told=f"version {version}")

    def wait_until(self, condition: Callable[[], bool], *, told: str, timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            log = self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, f"waited in vain for {told}: {self.model()}\n{log}"
            time.sleep(0.05)

    def segment(self, scan: bytes) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/segmentations", content=scan, timeout=60, trust_env=False)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture
def make_server() -> Iterator[Callable[..., Server]]:
    """A function of a root, a port and settings that gives a server, started; all are killed with the test."""
    servers: list[Server] = []

    def make(root: Path, *program: str, **values: str) -> Server:
        server = Server(root=root, port=free_port(), settings=values)
        servers.append(server)
        server.start(*program)
        return server

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def registry(registry_with_two_versions: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """Versions 1 and 2 approved, version 1 in use, below a root that the settings name."""
    for name in ("PROGRESS_FILE", "TRACKING_URI", "LEDGER", "MODEL_STORE", "TOKENS"):
        monkeypatch.delenv(f"SPINELINE_{name}", raising=False)
    monkeypatch.setenv("SPINELINE_ROOT", str(registry_with_two_versions.root))
    monkeypatch.setenv("SPINELINE_ACTOR", "ann")
    settings.cache_clear()
    registry_with_two_versions.promote(1, actor="ann", reason="the first", expected_serving=None)
    yield registry_with_two_versions
    settings.cache_clear()


@pytest.fixture(scope="session")
def golden() -> Golden:
    """The golden case, answered by real networks that stay loaded from one promotion to the next."""
    import torch

    loaded: dict[str, Any] = {}

    def answered(bundle: Bundle, version: int) -> float:
        if bundle.digest not in loaded:
            loaded[bundle.digest] = load_segmenter(bundle, device=torch.device("cpu"), threads=1)
        return check_golden_case(loaded[bundle.digest], bundle, version=version)

    return answered


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A phantom scan as ``.nii.gz``."""
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    write_volume(path, make_scan(seed=7, patient=1, first=20, last=23, spacing_mm=(6.0, 6.0, 6.0)).image)
    return path.read_bytes()
