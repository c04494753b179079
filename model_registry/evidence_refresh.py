"""Evidence packs that an event made out of date, made again; light to import, as a rollback must not wait for it."""

import logging
from pathlib import Path

from model_registry.ledger import Event
from model_registry.lifecycle import Registry

_LOG = logging.getLogger(__name__)


def pack_beside(bundle: Path, version: int) -> Path:
    """Return where the evidence pack of a version lies: beside the folder of its bundle."""
    return bundle.parent / f"evidence-{version}.zip"


def concerned(event: Event) -> tuple[int, ...]:
    """Return the versions that an event concerns: its own, and the one that was in use before and no longer is."""
    left = event.from_version if event.from_version != event.to_version else None
    return (event.version,) if left in (None, event.version) else (event.version, left)


def refresh_evidence_packs(registry: Registry, event: Event) -> None:
    """Make the packs again that lie here of the versions which ``event`` concerns; what hinders it is a warning.

    Only the files that a pack is made from are verified, not the weights: their digests are what it quotes.
    """
    for version in concerned(event):
        try:
            _refresh(registry, version)
        # The event is written whatever becomes of its papers, so nothing may look like a change that failed.
        except Exception as error:
            _LOG.warning("the evidence pack of version %d is not up to date with event %d: %s; `spineline evidence %d` "
                         "makes it again", version, event.number, error, version)  # fmt: skip


def _refresh(registry: Registry, version: int) -> None:
    pack = pack_beside(registry.root / registry.state().version(version).bundle, version)
    if pack.is_file():
        from model_registry.evidence_pack import write_pack

        write_pack(registry, version, pack)
