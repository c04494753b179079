"""What must hold before an event: where a version must stand, what is still in use, and a reason that can be read."""

import unicodedata
from collections.abc import Sequence

from model_registry.errors import ConflictError, NothingBeforeError, NotPromotableError
from model_registry.ledger import Event, changes_of_use, describe_state
from model_registry.state import State, VersionState, replay
from spine.errors import InvalidValueError

_NOT_SHOWN = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control, direction and line characters: they can make a reason read as another one."""


def promotable(state: State, version: int) -> VersionState:
    """Return a version that may be promoted; raises NotPromotableError otherwise."""
    known = state.version(version)
    if version == state.serving:
        raise NotPromotableError(version, state="in use already", wanted="promoted", expected="another version")
    if known.stage not in ("approved", "replaced"):
        raise NotPromotableError(version, state=known.stage, wanted="promoted", expected="an approved version")
    return known


def rollback_target(events: Sequence[Event], to: int | None) -> VersionState:
    """Return the version that a rollback goes to: ``to``, or the one in use before the present one.

    Raises NothingBeforeError where there is none, NotPromotableError where ``to`` may not be returned to.
    """
    state = replay(events)
    if to is None:
        if state.before is None:
            raise NothingBeforeError(_why_nothing_before(events, state))
        return state.version(state.before)
    known = state.version(to)
    if to == state.serving:
        raise NotPromotableError(to, state="in use already", wanted="rolled back to", expected="another version")
    if to not in state.promotion_stack and known.stage != "replaced":
        raise NotPromotableError(to, state=known.stage, wanted="rolled back to", expected="a version that has served")
    if known.stage == "revoked":
        raise NotPromotableError(to, state="revoked", wanted="rolled back to", expected="one not revoked")
    return known


def require_unchanged(events: Sequence[Event], *, seen: int | None, is_expected: bool = True) -> None:
    """Raise ConflictError where what is in use was changed after event ``seen``, or is not as expected."""
    if is_expected and (seen is None or not changes_of_use(events[seen:])):
        return
    changes = changes_of_use(events)
    raise ConflictError(number=changes[-1].number if changes else len(events), state=describe_state(changes))


def require_reason(reason: str) -> None:
    """Raise InvalidValueError unless ``reason`` says something, on one line that reads as it is written."""
    if not reason.strip():
        raise InvalidValueError("reason", reason, expected="a sentence that explains this to others")
    if reason != shown(reason):
        raise InvalidValueError("reason", reason, expected="one line without control or direction characters")


def shown(text: str) -> str:
    """Return ``text`` with a space in place of each character that a terminal obeys instead of showing it."""
    return "".join(" " if unicodedata.category(letter) in _NOT_SHOWN else letter for letter in text)


def _why_nothing_before(events: Sequence[Event], state: State) -> str:
    changes = changes_of_use(events)
    if not changes:
        return "none was promoted yet"
    last = changes[-1]
    back = f", since it was rolled back from version {last.from_version}" if last.kind == "roll back" else ""
    if state.serving is None:
        return f"no version is in use{back}"
    return f"none that may be used again was in use before version {state.serving}{back}"
