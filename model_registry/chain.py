"""The chain of the ledger's events: each quotes the one before it, and where that fails it is told which and how."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_registry.errors import BrokenLedgerError


@dataclass(frozen=True)
class Link:
    """What the chain needs of an event, and the number that its file has."""

    file: int
    number: int
    digest: str
    previous: str | None


@dataclass(frozen=True)
class Damaged:
    """A file whose content is no sealed event."""

    file: int
    problem: str


def require_unbroken(links: Sequence[Link | Damaged]) -> None:
    """Check files in the order of their numbers; raises BrokenLedgerError that names the first event at fault."""
    before: Link | None = None
    for place, link in enumerate(links, start=1):
        if link.file != place:
            raise BrokenLedgerError(number=place, reason=f"is missing{_held_elsewhere(links, place)}")
        if isinstance(link, Damaged):
            raise BrokenLedgerError(number=place, reason=f"was changed ({link.problem})")
        if link.number != place:
            raise BrokenLedgerError(number=place, reason=_misplaced(links, link))
        if link.previous != (before.digest if before else None):
            raise BrokenLedgerError(number=place, reason=_unconnected(links, link))
        before = link


def _held_elsewhere(links: Sequence[Link | Damaged], number: int) -> str:
    holders = [str(link.file) for link in links if isinstance(link, Link) and link.number == number]
    return f": file {' and '.join(holders)} holds it" if holders else ""


def _misplaced(links: Sequence[Link | Damaged], link: Link) -> str:
    copies = [other.file for other in links if isinstance(other, Link) and other.digest == link.digest]
    twins = [str(file) for file in copies if file != link.file]
    if twins:
        return f"is a copy: its file holds event {link.number} once more, as file {' and '.join(twins)} does"
    return f"is out of order: its file holds event {link.number}"


def _unconnected(links: Sequence[Link | Damaged], link: Link) -> str:
    if link.file == 1:
        return "is from another ledger: it follows an event, and is the first here"
    after = links[link.file] if link.file < len(links) else None
    if isinstance(after, Link) and after.previous != link.digest:
        return f"is from another ledger, or rewritten: it does not follow event {link.file - 1}, nor does the next it"
    return f"does not follow event {link.file - 1}: one of them was rewritten, or is from another ledger"
