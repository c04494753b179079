"""Who may act: names that an event can carry, and people who can be told apart."""

from collections.abc import Callable

import pytest

from model_registry.actors import require_actor, require_starter
from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.policy import load_policy
from model_registry.promotion import promote, roll_back
from spine.errors import InvalidValueError

WRONG = [
    "",
    " ",
    " ann",
    "ann ",
    "a\nb",
    "a\tb",
    "a\u202eb",
    "a\u2028b",
    "\x1b[31mann",
    "automatic",
    "AUTOMATIC",
    "a" * 255,
]
RIGHT = ["ann", "ann@example.org", "Änne Müller", "system:serviceaccount:team:ci", "root", "unknown", "a" * 254]


@pytest.mark.parametrize("actor", WRONG)
def test_a_name_that_an_event_can_not_carry_is_refused_by_every_way_into_the_ledger(
    actor: str, approved: Callable[..., Registry], register: Callable[..., Bundle]
) -> None:
    registry = approved(1)
    number = len(registry.history())
    ways: tuple[Callable[[], object], ...] = (
        lambda: require_actor(actor),
        lambda: register(2, actor=actor),
        lambda: registry.approve(1, actor=actor, reason="r"),
        lambda: registry.promote(1, actor=actor, reason="r", expected_serving=None),
        lambda: registry.roll_back(to=None, actor=actor, reason="r"),
        lambda: registry.revoke(1, actor=actor, reason="r"),
        lambda: promote(registry, 1, actor=actor, reason="r", golden=lambda *_: 1.0),
        lambda: roll_back(registry, None, actor=actor, reason="r", golden=None),
    )
    for way in ways:
        with pytest.raises(InvalidValueError, match="actor is .*; expected a name of 1 to 254 printable"):
            way()
    assert len(registry.history()) == number


@pytest.mark.parametrize("actor", RIGHT)
def test_a_name_that_reads_as_it_is_written_is_taken(actor: str) -> None:
    require_actor(actor)


@pytest.mark.parametrize("nobody", ["unknown", "spineline", "Spineline", "anonymous"])
def test_who_is_no_particular_person_neither_approves_nor_is_told_from_an_approver(
    nobody: str, registry: Registry, register: Callable[..., Bundle], make_policy: Callable[..., object]
) -> None:
    register(1, policy=make_policy(separate_approver=True), actor="ann")
    with pytest.raises(InvalidValueError, match=f"approver is '{nobody}'; expected the name of a person"):
        registry.approve(1, actor=nobody, reason="r")
    register(2, policy=make_policy(separate_approver=True), actor=nobody)
    with pytest.raises(InvalidValueError, match=f"actor who registered version 2 is '{nobody}'; expected a person"):
        registry.approve(2, actor="ben", reason="r")
    register(3, policy=make_policy(separate_approver=False), actor=nobody)
    registry.approve(3, actor=nobody, reason="r")
    assert [known.stage for known in registry.state().versions.values()] == ["registered", "registered", "approved"]


@pytest.mark.parametrize(("policy", "actor"), [("research", "ann"), ("demo", "ann"), ("demo", ""), ("demo", "unknown")])
def test_a_run_starts_without_a_person_only_where_nobody_has_to_be_told_apart(policy: str, actor: str) -> None:
    require_starter(actor, policy=load_policy(policy))


@pytest.mark.parametrize(
    ("policy", "actor"),
    [("research", ""), ("research", "unknown"), ("research", "spineline"), ("demo", "automatic"), ("demo", " ann")],
)
def test_a_run_is_refused_otherwise(policy: str, actor: str) -> None:
    with pytest.raises(InvalidValueError, match="actor is "):
        require_starter(actor, policy=load_policy(policy))
