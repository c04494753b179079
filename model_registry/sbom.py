"""The bill of materials of a version as CycloneDX 1.6: its weights, its data, and the packages it was made with."""

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime

import yaml
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Commit, Component, ComponentType, Pedigree
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from model_registry.bundle import Bundle
from model_registry.provenance import UNKNOWN
from spine.records import ENVIRONMENT_FILE

PYTHON_FILE = "python_env.yaml"
"""MLflow's file that names the interpreter."""
_NOT_KNOWN = {
    "spineline:packages": "the whole environment that the version was evaluated in, developers' tools included; what "
    "it needs to predict is named by requirements.txt of its bundle, what those need in turn is not recorded",
    "spineline:licences": "not recorded: the environment is a list of names and versions",
}


def bill_of_materials(bundle: Bundle, *, name: str, version: int, code_revision: str, at: datetime) -> str:
    """Return the JSON of a version's bill of materials, the same bytes for the same bundle and time ``at``.

    Packages are those that the bundle's environment pins, whose golden case was answered with them, and Python.
    What can't be told of them is told as properties. ``code_revision`` is the git commit that trained the version.
    """
    model = _model(bundle, name=name, version=version, code_revision=code_revision)
    packages = [*_python(bundle), *_packages(bundle)]
    data = Component(
        name="training and test data",
        type=ComponentType.DATA,
        version=bundle.manifest.dvc_hash,
        bom_ref="data",
        properties=[Property(name="spineline:git_revision", value=bundle.manifest.git_revision)],
    )
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, bundle.digest),
        metadata=BomMetaData(
            component=model,
            timestamp=at,
            properties=[Property(name=name, value=value) for name, value in _NOT_KNOWN.items()],
        ),
        components=[data, *packages],
    )
    bom.register_dependency(model, [data, *packages])
    text: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return text + "\n"


def _model(bundle: Bundle, *, name: str, version: int, code_revision: str) -> Component:
    folds = [
        Component(
            name=bundle.fold_path(fold).relative_to(bundle.folder).as_posix(),
            type=ComponentType.FILE,
            bom_ref=f"fold {fold}",
            hashes=[_hash(digest)],
        )
        for fold, digest in bundle.manifest.folds.items()
    ]
    return Component(
        name=name,
        type=ComponentType.MACHINE_LEARNING_MODEL,
        version=str(version),
        bom_ref="model",
        description="Vertebra segmentation in CT. For research and decision support, not for clinical use.",
        hashes=[_hash(bundle.digest)],
        components=folds,
        pedigree=None if code_revision == UNKNOWN else Pedigree(commits=[Commit(uid=code_revision)]),
    )


def _python(bundle: Bundle) -> Iterator[Component]:
    file = bundle.folder / PYTHON_FILE
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else None
    if isinstance(found, dict) and found.get("python"):
        version = str(found["python"])
        purl = PackageURL("generic", name="python", version=version)
        # A scanner knows interpreters by their CPE.
        cpe = f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*"
        yield Component(
            name="python", type=ComponentType.PLATFORM, version=version, purl=purl, cpe=cpe, bom_ref=purl.to_string()
        )


def _packages(bundle: Bundle) -> Iterable[Component]:
    file = bundle.folder / ENVIRONMENT_FILE
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        name, _, version = line.strip().partition("==")
        if name and not name.startswith("#"):
            # Ours is on no index: a scanner would look up somebody else's package of the name.
            kind = "generic" if name == "spineline" else "pypi"
            purl = PackageURL(kind, name=name, version=version or None)
            yield Component(name=name, version=version or None, purl=purl, bom_ref=purl.to_string())


def _hash(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))
