"""Names of those who act, as the events of the ledger carry them."""

from typing import Final

from model_registry.policy import Policy
from spine.errors import InvalidValueError

AUTOMATIC: Final = "automatic"
"""Actor of an automatic rollback; no person may take this name."""
UNKNOWN: Final = "unknown"
"""Actor of a run that was started without one."""
NOT_A_PERSON: Final = frozenset({AUTOMATIC, UNKNOWN, "spineline", "anonymous"})
"""The user of the images and a caller without a token stand for no particular person either."""
_LONGEST_NAME = 254  # of an e-mail address


def require_actor(actor: str) -> None:
    """Raise InvalidValueError unless ``actor`` is a name on one line that reads as it is written, and not reserved."""
    is_readable = actor.isprintable() and actor == actor.strip()
    if not actor or len(actor) > _LONGEST_NAME or not is_readable or _folded(actor) == AUTOMATIC:
        expected = f"a name of 1 to {_LONGEST_NAME} printable characters, without spaces at its ends, not '{AUTOMATIC}'"
        raise InvalidValueError("actor", actor, expected=expected)


def require_person(actor: str) -> None:
    """Raise InvalidValueError unless ``actor`` is a valid name that stands for a particular person."""
    require_actor(actor)
    if not is_person(actor):
        raise InvalidValueError("actor", actor, expected="the name of a person: this one stands for nobody")


def require_starter(actor: str, *, policy: Policy) -> None:
    """Raise InvalidValueError unless ``actor`` may start a run that is judged under ``policy``.

    An empty name is accepted where the policy does not separate who registers a version from who approves it.
    """
    if actor:
        require_actor(actor)
    if policy.separate_approver and not is_person(actor):
        expected = (
            "the name of the person who starts the run (the pipeline's parameter 'actor', or SPINELINE_ACTOR): "
            f"policy '{policy.name}' needs another person to approve"
        )
        raise InvalidValueError("actor", actor, expected=expected)


def require_separate(approver: str, *, registrar: str, version: int) -> None:
    """Raise InvalidValueError unless ``approver`` is known to be another person than ``registrar``."""
    if not is_person(approver):
        raise InvalidValueError("approver", approver, expected="the name of a person: set SPINELINE_ACTOR")
    if not is_person(registrar):
        expected = "a person, whom its policy needs: train another candidate (`spineline run --seed`)"
        raise InvalidValueError(f"actor who registered version {version}", registrar, expected=expected)
    if _folded(approver) == _folded(registrar):
        expected = f"somebody other than {registrar}, who registered version {version}"
        raise InvalidValueError("approver", approver, expected=expected)


def is_person(actor: str) -> bool:
    """Return whether a name stands for a particular person."""
    return bool(actor.strip()) and _folded(actor) not in NOT_A_PERSON


def _folded(name: str) -> str:
    return name.strip().casefold()
