"""Evidence packs that an event made out of date, made again; light to import, as a rollback must not wait for it."""

import logging

from model_registry.bundle import evidence_pack_path
from model_registry.ledger import Event, concerned
from model_registry.lifecycle import Registry

_LOG = logging.getLogger(__name__)


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
    pack = evidence_pack_path(registry.root / registry.state().version(version).bundle, version)
    if pack.is_file():
        from model_registry.evidence_pack import write_pack

        write_pack(registry, version, pack)
