"""The commands of docs/rollback.md, as somebody types them at night, with a stand-in for kubectl and real servers."""

from pathlib import Path

import pytest

from components.serve_model.token_changes import make_token

pytestmark = pytest.mark.slow
PAGE = Path(__file__).resolve().parents[3] / "docs" / "rollback.md"
WHO = {"actor": "ann", "reason": "for tests"}


@pytest.fixture
def promoted(registry):
    """A registry with version 2 in use, after version 1."""
    registry.promote(2, expected_serving=1, **WHO)
    return registry


def test_what_is_typed_first_rolls_back_and_says_who_did_it(promoted, make_server, run_blocks, kubectl):
    server = make_server(promoted.root)
    server.wait_for(2)
    told = run_blocks(PAGE, "1. Type this", replaced={}, only=0)
    assert "answers with version 1" in told
    assert "event 7: roll back version 1 by YOUR-NAME; version 1 is in use" in told
    assert server.version() == 1
    looked = run_blocks(PAGE, "3. Look whether all agree", replaced={})
    assert "version in use: 1" in looked
    assert "differences: none" in looked
    assert promoted.history()[-1].actor == "YOUR-NAME"


def test_a_token_does_as_well(promoted, make_server, run_blocks, tmp_path, monkeypatch):
    tokens = tmp_path / "tokens.json"
    monkeypatch.setenv("TOKEN", make_token(tokens, name="otto", role="operator", lasts=None))
    server = make_server(promoted.root, SPINELINE_TOKENS=str(tokens))
    server.wait_until(lambda: "error" in server.model(), told="a server that asks for tokens")
    server.wait_until(lambda: [one.version for one in promoted.present_servers()] == [2], told="version 2")
    run_blocks(PAGE, "1. Type this", replaced={"https://spineline.example.org": server.url}, only=1)
    last = promoted.history()[-1]
    assert (last.kind, last.version, last.actor) == ("roll back", 1, "otto")


def test_another_version_is_looked_at_first_and_then_taken(promoted, make_server, run_blocks, kubectl):
    server = make_server(promoted.root)
    server.wait_for(2)
    told = run_blocks(PAGE, "Another version", replaced={"--to 3": "--to 1"})
    assert "nothing was changed" in told
    assert "version 1 is in use" in told
    assert server.version() == 1


def test_without_any_server_the_ledger_is_told_from_a_pod_that_only_waits(promoted, make_server, run_blocks, kubectl):
    assert promoted.present_servers() == []
    told = run_blocks(PAGE, "No server runs", replaced={})
    assert "version 1 is in use" in told
    assert "debug" in kubectl.read_text()
    server = make_server(promoted.root)
    server.wait_for(1)
