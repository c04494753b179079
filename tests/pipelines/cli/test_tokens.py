"""`spineline token`: made once, listed without secrets, taken away by name."""

import json
from pathlib import Path

import pytest

from components.serve_model.tokens import Tokens
from pipelines.cli.app import run
from spine.settings import settings


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tokens.yaml"
    monkeypatch.setenv("SPINELINE_TOKENS", str(path))
    settings.cache_clear()
    yield path
    settings.cache_clear()


def test_a_token_is_printed_once_alone_on_stdout(path: Path, capsys) -> None:
    assert run(["token", "ann", "--role", "operator", "--expires", "90d"]) == 0
    told = capsys.readouterr()
    token = told.out.strip()
    assert told.out == f"{token}\n"
    entry = Tokens(path).entry(token)
    assert (entry.name, entry.role) == ("ann", "operator")
    assert entry.expires is not None
    assert "ann, operator" in told.err


def test_tokens_are_listed_without_their_digests_and_taken_away(path: Path, capsys) -> None:
    run(["token", "ann", "--role", "reader"])
    token = capsys.readouterr().out.strip()
    assert run(["token", "--list"]) == 0
    listed = capsys.readouterr().out
    assert "ann" in listed
    assert "reader" in listed
    assert run(["token", "--list", "--json"]) == 0
    told = capsys.readouterr().out
    assert json.loads(told) == [{"name": "ann", "role": "reader", "expires": None}]
    assert run(["token", "--revoke", "ann"]) == 0
    assert Tokens(path).entry(token) is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Give exactly one of NAME, --list, --revoke"),
        (["ann", "--list"], "Give exactly one of NAME, --list, --revoke"),
        (["ann"], "role is None; expected --role with one of: reader, approver, operator"),
        (["ann", "--role", "boss"], "role is 'boss'"),
        (["ann", "--role", "reader", "--expires", "soon"], "expires is 'soon'; expected days or hours"),
        (["a b", "--role", "reader"], "name"),
        (["--list"], "not found"),
        (["--revoke", "ann"], "not found"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(path: Path, capsys, arguments, told) -> None:
    assert run(["token", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not path.exists()


def test_without_the_setting_it_says_which(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.delenv("SPINELINE_TOKENS", raising=False)
    settings.cache_clear()
    assert run(["token", "--list"]) == 2
    assert "SPINELINE_TOKENS is None; expected the path of the tokens file" in capsys.readouterr().err
