"""The fold of events: what serves, what a rollback returns to, and where each version stands."""

import pytest

from model_registry.errors import BrokenLedgerError
from model_registry.ledger import Event, next_event
from model_registry.mlflow_aliases import aliases_of
from model_registry.state import State, replay
from spine.errors import UnknownNameError

P, B, X = "promote", "roll back", "revoke"
N = "roll back to none"


def told(*changes: tuple[str, int], versions: int = 4) -> State:
    """The state after ``versions`` were registered and approved, and then ``changes`` were made."""
    events: list[Event] = []
    setup = [(kind, version) for version in range(1, versions + 1) for kind in ("register", "approve")]
    for kind, version in [*setup, *changes]:
        before = replay(events).serving
        after = {P: version, B: version, N: None}.get(kind, before)
        events.append(
            next_event(
                events, kind=B if kind == N else kind, version=version, actor=f"{kind}er", reason="r",
                serving=(before, after), evidence=f"sha256:{version}", bundle=f"models/{version}",
            )  # type: ignore[arg-type]
        )  # fmt: skip
    return replay(events)


@pytest.mark.parametrize(
    ("changes", "serving", "before"),
    [
        ([], None, None),
        ([(P, 1)], 1, None),
        ([(P, 1), (P, 2)], 2, 1),
        ([(P, 1), (P, 2), (B, 1)], 1, None),
        ([(P, 1), (P, 2), (P, 3)], 3, 2),
        ([(P, 1), (P, 2), (P, 3), (B, 2)], 2, 1),
        ([(P, 1), (P, 2), (P, 3), (B, 2), (B, 1)], 1, None),
        ([(P, 1), (P, 2), (P, 3), (B, 1)], 1, None),
        ([(P, 1), (P, 2), (B, 1), (P, 3)], 3, 1),
        ([(P, 1), (P, 2), (B, 1), (B, 2)], 2, 1),
        ([(P, 1), (P, 2), (B, 1), (P, 2)], 2, 1),
        ([(P, 1), (P, 2), (P, 3), (X, 2)], 3, 1),
        ([(P, 1), (P, 2), (P, 3), (X, 2), (X, 1)], 3, None),
        ([(P, 1), (P, 2), (P, 3), (X, 2), (B, 1)], 1, None),
        ([(P, 1), (P, 2), (P, 1)], 1, 2),
        ([(P, 1), (P, 2), (P, 1), (B, 2)], 2, 1),
        ([(P, 1), (P, 2), (P, 1), (P, 3), (B, 1)], 1, 2),
        ([(P, 1), (P, 2), (P, 1), (X, 2)], 1, None),
        ([(P, 3), (P, 1), (P, 2), (P, 1), (X, 2)], 1, 3),
    ],
)
def test_the_line_of_versions_that_served_is_a_stack(
    changes: list[tuple[str, int]], serving: int | None, before: int | None
) -> None:
    state = told(*changes)
    assert (state.serving, state.before) == (serving, before)
    aliases = aliases_of(state)
    assert (aliases.get("champion"), aliases.get("previous")) == (serving, before)


def test_a_rollback_to_no_version_empties_the_line() -> None:
    state = told((P, 1), (N, 1))
    assert (state.serving, state.before, state.promotion_stack) == (None, None, ())
    assert state.version(1).stage == "replaced"
    assert "champion" not in aliases_of(state)
    again = told((P, 1), (N, 1), (P, 1))
    assert (again.serving, again.before, again.version(1).stage) == (1, None, "promoted")


@pytest.mark.parametrize(
    ("changes", "number", "what"),
    [
        ([("approve", 9)], 9, "'approve' of version 9, which is unknown"),
        ([(P, 9)], 9, "'promote' of version 9, which is unknown"),
        ([("register", 9), (P, 9)], 10, "'promote' of version 9, which is registered"),
        ([("register", 9), (B, 9)], 10, "'roll back' of version 9, which is registered"),
        ([(X, 2), (P, 2)], 10, "'promote' of version 2, which is revoked"),
        ([(P, 2), (P, 1), (X, 2), (B, 2)], 12, "'roll back' of version 2, which is revoked"),
        ([(X, 2), ("approve", 2)], 10, "'approve' of version 2, which is revoked"),
        ([(P, 2), (X, 2)], 10, "'revoke' of version 2, which is promoted"),
        ([("register", 2)], 9, "'register' of version 2, which is approved"),
    ],
)
def test_an_event_that_no_command_writes_is_named(changes: list[tuple[str, int]], number: int, what: str) -> None:
    with pytest.raises(BrokenLedgerError, match=f"event {number} of the ledger can't be: it is {what}"):
        told(*changes)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ([], ["approved", "approved"]),
        ([(P, 1)], ["promoted", "approved"]),
        ([(P, 1), (P, 2)], ["replaced", "promoted"]),
        ([(P, 1), (P, 2), (B, 1)], ["promoted", "replaced"]),
        ([(P, 1), (P, 2), (B, 1), (X, 2)], ["promoted", "revoked"]),
        ([(P, 1), (X, 2)], ["promoted", "revoked"]),
    ],
)
def test_one_version_is_promoted_and_those_before_it_are_replaced(
    changes: list[tuple[str, int]], stages: list[str]
) -> None:
    assert [known.stage for known in told(*changes, versions=2).versions.values()] == stages


def test_a_version_keeps_who_registered_and_who_approved_it() -> None:
    known = told((P, 1)).version(1)
    assert (known.registered_by, known.approved_by) == ("registerer", "approveer")
    assert (known.model_digest, known.bundle) == ("sha256:1", "models/1")


def test_no_events_are_an_empty_state() -> None:
    assert replay([]) == State()
    assert aliases_of(State()) == {}


@pytest.mark.parametrize(("versions", "known"), [(3, "1, 2, 3"), (0, "none yet")])
def test_an_unknown_version_lists_the_known_ones(versions: int, known: str) -> None:
    with pytest.raises(UnknownNameError, match=f"unknown version '9'; expected one of: {known}"):
        told(versions=versions).version(9)


def test_the_candidate_is_the_newest_version_that_never_served() -> None:
    assert aliases_of(told((P, 4)))["candidate"] == 3
    assert aliases_of(told((P, 4), (X, 3)))["candidate"] == 2
    assert "candidate" not in aliases_of(told((P, 1), versions=1))
