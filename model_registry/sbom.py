"""The bill of materials of a version as CycloneDX 1.6: its weights, its data, and the packages it was made with."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from model_registry.bundle import Bundle
from spine.records import ENVIRONMENT_FILE


def bill_of_materials(bundle: Bundle, *, name: str, version: int, at: datetime) -> str:
    """Return the JSON of a version's bill of materials, the same bytes for the same bundle and time ``at``.

    Packages are those that the bundle's environment pins, whose golden case was answered with them.
    """
    model = _model(bundle, name=name, version=version)
    packages = list(_packages(bundle))
    data = Component(
        name="training and test data",
        type=ComponentType.DATA,
        version=bundle.manifest.dvc_hash,
        bom_ref="data",
        properties=[Property(name="spineline:git_revision", value=bundle.manifest.git_revision)],
    )
    bom = Bom(
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, bundle.digest),
        metadata=BomMetaData(component=model, timestamp=at),
        components=[data, *packages],
    )
    bom.register_dependency(model, [data, *packages])
    text: str = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=2)
    return text + "\n"


def _model(bundle: Bundle, *, name: str, version: int) -> Component:
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
