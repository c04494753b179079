"""The bill of materials of an image, made of this environment's packages and of a small Debian's status."""

import importlib.metadata
import importlib.util
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

AT = datetime(2026, 1, 2, tzinfo=UTC)
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Package: not a field

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
"""


@pytest.fixture(scope="module")
def sbom(project):
    specification = importlib.util.spec_from_file_location("image_sbom", project / "infra/images/sbom.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def base(tmp_path) -> Path:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text("ID=debian\nVERSION_CODENAME=bookworm\n")
    return tmp_path


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """What a few packages say of themselves."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("numpy", "PyYAML", "pydantic", "pydantic_core", "spineline"):
        (folder / f"{name}.dist-info").mkdir()
        text = importlib.metadata.distribution(name).read_text("METADATA") or ""
        (folder / f"{name}.dist-info/METADATA").write_text(text or f"Name: {name}\nVersion: 0.1.0\n")
    return folder


@pytest.fixture
def made(sbom, packages) -> Callable[..., dict]:
    """A function of a base and a revision that gives what the bill says."""

    def make(base: Path | None = None, revision: str = "a" * 40) -> dict:
        text = sbom.bill_of_materials(
            name="spineline/serve", version="0.1.0", revision=revision, at=AT, packages=[packages], base=base
        )
        return json.loads(text)

    return make


def test_names_every_package_with_its_version(made):
    purls = {each.get("purl") for each in made()["components"]}
    assert f"pkg:pypi/numpy@{importlib.metadata.version('numpy')}" in purls
    assert f"pkg:pypi/pyyaml@{importlib.metadata.version('PyYAML')}" in purls
    assert any(purl.startswith("pkg:generic/python@3.") for purl in purls)
    assert "pkg:generic/spineline@0.1.0" in purls


def test_says_what_needs_what_and_under_which_licence(made):
    told = made()
    needs = {each["ref"]: each.get("dependsOn", []) for each in told["dependencies"]}
    pydantic = next(each for each in told["components"] if each["name"] == "pydantic")
    assert any(need.startswith("pkg:pypi/pydantic-core@") for need in needs[pydantic["bom-ref"]])
    assert pydantic["licenses"]
    assert len(needs["image"]) == len(told["components"])


def test_names_what_debian_has_installed_below(made, base):
    debian = [each for each in made(base)["components"] if each["purl"].startswith("pkg:deb/")]
    assert [each["purl"] for each in debian] == ["pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=bookworm"]


def test_a_base_that_is_no_debian_adds_nothing(made, tmp_path):
    assert made(tmp_path)["components"] == made()["components"]


def test_is_the_same_for_the_same_and_another_for_another_commit(made):
    first, again, other = made(), made(), made(revision="b" * 40)
    assert first == again
    assert first["serialNumber"] != other["serialNumber"]


def test_names_the_image_its_commit_and_the_time(made):
    told = made()["metadata"]
    assert (told["component"]["name"], told["component"]["version"]) == ("spineline/serve", "0.1.0")
    assert told["component"]["pedigree"]["commits"] == [{"uid": "a" * 40}]
    assert told["timestamp"].startswith("2026-01-02T00:00:00")
