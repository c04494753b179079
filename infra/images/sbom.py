"""Write the bill of materials of an image as CycloneDX 1.6: its Python packages, its Python, and its base's packages.

Runs in the build of the image, where only cyclonedx-python-lib is installed.
"""

import argparse
import platform
import re
import sys
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Commit, Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

OWN = "spineline"
_LICENCE_CHARACTERS = 100
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def bill_of_materials(
    *, name: str, version: str, revision: str, at: datetime, packages: list[Path], base: Path | None = None
) -> str:
    """Return the JSON, the same bytes for the same packages, ``revision`` (a git commit) and ``at``.

    ``packages`` are folders of installed distributions, ``base`` the root of the image below them. Raises ValueError
    where the JSON is not valid under CycloneDX's schema.
    """
    found = {_normal(each.name): each for each in distributions(path=[str(folder) for folder in packages])}
    components = {key: _python_package(found[key]) for key in sorted(found)}
    whole = Component(
        name=name,
        version=version,
        type=ComponentType.CONTAINER,
        bom_ref="image",
        pedigree=Pedigree(commits=[Commit(uid=revision)]),
    )
    system = [_interpreter(), *(_base_packages(base) if base else ())]
    bom = Bom(metadata=BomMetaData(component=whole, timestamp=at), components=[*components.values(), *system])
    bom.register_dependency(whole, [*components.values(), *system])
    for key, component in components.items():
        needed = sorted({_normal(need) for need in _needs(found[key])} & components.keys())
        bom.register_dependency(component, [components[need] for need in needed])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(_references(bom)))
    text: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    if invalid := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"{name}: {invalid}; expected valid CycloneDX 1.6")
    return text + "\n"


def _python_package(found: Distribution) -> Component:
    # Ours is on no index: a scanner would look up somebody else's package of the name.
    kind = "generic" if found.name == OWN else "pypi"
    purl = PackageURL(kind, name=_normal(found.name), version=found.version)
    return Component(
        name=found.name, version=found.version, purl=purl, bom_ref=purl.to_string(), licenses=list(_licences(found))
    )


def _licences(found: Distribution) -> Iterator[LicenseExpression | DisjunctiveLicense]:
    """What the package says of its licence: an SPDX expression, else classifiers, else the first line of its text."""
    said = found.metadata
    classified = [
        each.rpartition(" :: ")[2] for each in said.get_all("Classifier", []) if each.startswith("License ::")
    ]
    if said.get("License-Expression"):
        yield LicenseExpression(said["License-Expression"])
    elif classified:
        yield from (DisjunctiveLicense(name=each) for each in classified)
    elif (said.get("License") or "").strip():
        yield DisjunctiveLicense(name=said["License"].strip().splitlines()[0][:_LICENCE_CHARACTERS])


def _needs(found: Distribution) -> Iterator[str]:
    """Names that a distribution requires, whatever their markers: those not installed are left out by the caller."""
    for line in found.requires or ():
        if name := _NAME.match(line):
            yield name.group()


def _interpreter() -> Component:
    version = platform.python_version()
    purl = PackageURL("generic", name="python", version=version)
    # A scanner knows interpreters by their CPE.
    cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
    return Component(
        name="python", version=version, type=ComponentType.PLATFORM, purl=purl, cpe=cpe, bom_ref=purl.to_string()
    )


def _base_packages(base: Path) -> Iterator[Component]:
    """The packages that dpkg has installed below ``base``; none where it is no Debian."""
    status, release = base / "var/lib/dpkg/status", base / "etc/os-release"
    if not status.is_file():
        return
    told = dict(line.split("=", 1) for line in release.read_text(encoding="utf-8").splitlines() if "=" in line)
    system, codename = (told.get(key, "").strip('"') for key in ("ID", "VERSION_CODENAME"))
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z-]+): (.*)$", paragraph, flags=re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
            qualifiers = {"arch": architecture, "distro": codename} if codename else {"arch": architecture}
            purl = PackageURL("deb", system or "debian", name, version, qualifiers)
            yield Component(name=name, version=version, purl=purl, bom_ref=purl.to_string())


def _references(bom: Bom) -> Iterable[str]:
    main = bom.metadata.component
    commits = [commit.uid for commit in main.pedigree.commits] if main and main.pedigree else []
    return [*map(str, commits), *sorted(str(each.bom_ref.value) for each in bom.components)]


def _normal(name: str) -> str:
    """A package's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main(argv: list[str] | None = None) -> int:
    """Write the bill of materials that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True, help="of the image")
    parser.add_argument("--version", required=True)
    parser.add_argument("--revision", required=True, help="git commit")
    parser.add_argument("--at", required=True, type=datetime.fromisoformat, help="time of the commit")
    parser.add_argument("--packages", required=True, type=Path, nargs="+", help="folders of installed packages")
    parser.add_argument("--base", type=Path, help="root of the base image")
    parser.add_argument("--output", required=True, type=Path)
    given = vars(parser.parse_args(argv))
    output = given.pop("output")
    output.write_text(bill_of_materials(**given), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
