"""Every overlay rendered, and a place for the checks that all tests here share."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from manifests.objects import Object
from manifests.rendering import render

KUBERNETES = Path(__file__).resolve().parents[3] / "infra" / "kubernetes"
OVERLAYS = ("single-node", "production", "air-gapped", "kserve")


@pytest.fixture(scope="session")
def kubernetes() -> Path:
    """The folder of all manifests."""
    return KUBERNETES


@pytest.fixture(scope="session")
def rendered() -> dict[str, list[Object]]:
    """The objects of each overlay."""
    return {name: render(KUBERNETES / "overlays" / name) for name in OVERLAYS}


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an overlay as a site has it, beside ours, and returns its folder."""

    def make(*components: str, namespace: str = "spineline", base: str = "production") -> Path:
        shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
        folder = tmp_path / "kubernetes" / "overlays" / "site"
        folder.mkdir()
        content = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": namespace,
            "resources": [f"../{base}"],
            "components": [f"../../components/{name}" for name in components],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return folder

    return make
