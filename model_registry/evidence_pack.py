"""The evidence pack: all that answers for an approved version, in one zip that is the same for the same ledger."""

import zipfile
from datetime import datetime
from pathlib import Path
from typing import Final

from model_registry.bundle import MANIFEST_FILE, Bundle, evidence_pack_path
from model_registry.errors import NotPromotableError
from model_registry.ledger import Event
from model_registry.lifecycle import Registry
from model_registry.lineage import bundle_to_read, lineage_of
from model_registry.model_card import DATASET_FILE, model_card
from model_registry.model_summary import PLANS_FILE
from model_registry.provenance import PROVENANCE_FILE
from model_registry.sbom import PYTHON_FILE, bill_of_materials
from model_registry.training_distribution import FINGERPRINT
from spine.records import ALTERNATIVES_FILE, ENVIRONMENT_FILE, POSTPROCESSING_FILE
from spine.settings import settings
from spine.storage import atomic_file, digest_bytes, strict_json

CARD_FILE: Final = "model_card.md"
LINEAGE_FILE: Final = "lineage-and-life.json"
MATERIALS_FILE: Final = "sbom.cdx.json"
APPROVAL_FILE: Final = "approval.json"
LEDGER_FILE: Final = "ledger.jsonl"
SUMS_FILE: Final = "SHA256SUMS"
_QUOTED: Final = (
    MANIFEST_FILE, "verdict.json", "report.html", "policy.json", "evaluation.json", "champion.json", "out_of_fold.json",
    ALTERNATIVES_FILE, POSTPROCESSING_FILE, ENVIRONMENT_FILE, "recipe.json",
    PROVENANCE_FILE,
)  # fmt: skip
"""Files of the bundle that are there as they are, as far as it has them."""
_READ: Final = (DATASET_FILE, FINGERPRINT, PLANS_FILE, PYTHON_FILE)
"""Files that the card and the bill of materials are made from beside those."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def make_evidence_pack(registry: Registry, version: int, *, target: Path | None = None) -> Path:
    """Write the evidence pack of a version, beside its bundle unless ``target`` is given, and return its path.

    It is made again with the events that came since. Every file of the bundle is verified first. Raises
    NotPromotableError for a version that nobody approved.
    """
    known = registry.state().version(version)
    _approval(registry, version)
    if known.stage == "revoked":
        bundle = bundle_to_read(registry, version)
        bundle.verify(expected=known.model_digest)
    else:
        bundle = registry.verified_bundle(version)
    return write_pack(registry, version, target or evidence_pack_path(bundle.folder, version))


def write_pack(registry: Registry, version: int, target: Path) -> Path:
    """Write the evidence pack of a version to ``target``; of its bundle only what the pack is made from is verified."""
    approval = _approval(registry, version)
    bundle = bundle_to_read(registry, version, more=(*_QUOTED, *_READ))
    with atomic_file(target) as partial:
        _write_zip(partial, _contents(registry, bundle, version=version, approval=approval))
    return target


def _approval(registry: Registry, version: int) -> Event:
    """Return the event that approved a version; raises NotPromotableError where nobody did."""
    known = registry.state().version(version)
    for event in registry.history():
        if (event.version, event.kind) == (version, "approve"):
            return event
    raise NotPromotableError(version, state=known.stage, wanted="signed off", expected="an approved version")


def _contents(registry: Registry, bundle: Bundle, *, version: int, approval: Event) -> dict[str, bytes]:
    name, lineage = settings().model_name, lineage_of(registry, version)
    at, code = datetime.fromisoformat(approval.at), lineage.provenance.code_revision
    materials = bill_of_materials(bundle, name=name, version=version, code_revision=code, at=at)
    made = {
        CARD_FILE: model_card(bundle, name=name, lineage=lineage),
        LINEAGE_FILE: strict_json(lineage.model_dump(mode="json"), indent=2) + "\n",
        MATERIALS_FILE: materials,
        APPROVAL_FILE: approval.text() + "\n",
        LEDGER_FILE: "".join(f"{event.text()}\n" for event in lineage.events),
    }
    held = {MANIFEST_FILE, *bundle.manifest.files}
    quoted = {name: (bundle.folder / name).read_bytes() for name in _QUOTED if name in held}
    contents = {**{name: text.encode() for name, text in made.items()}, **quoted}
    sums = "".join(f"{digest_bytes(contents[name]).removeprefix('sha256:')}  {name}\n" for name in sorted(contents))
    return {**contents, SUMS_FILE: sums.encode()}


def _write_zip(path: Path, contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, contents[name])
