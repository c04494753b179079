"""The tokens file: who is known by it, what it refuses, and that a change to it counts at once."""

import json
import os
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.serve_model.token_changes import duration, make_token, revoke_token
from components.serve_model.tokens import TokenEntry, Tokens, digest_of, read_entries
from spine.errors import InvalidValueError, MalformedFileError, MissingPathError, UnknownNameError

SECRET = "a-token-that-nobody-may-see"


def entry(name: str = "ann", *, token: str = SECRET, **more: object) -> dict[str, object]:
    return {"name": name, "role": "reader", "sha256": digest_of(token), **more}


def write(path: Path, content: object, *, mode: int = 0o600) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    path.chmod(mode)
    return path


def test_a_token_is_made_kept_as_its_digest_only_and_known_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    token = make_token(path, name="ann", role="operator", lasts=None)
    assert len(token) >= 43
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    known = Tokens(path).entry(token)
    assert known == TokenEntry(name="ann", role="operator", sha256=digest_of(token))
    assert Tokens(path).entry(token + "x") is None
    assert Tokens(path).entry(digest_of(token)) is None


@pytest.mark.parametrize("name", ["tokens.yaml", "tokens.json"])
def test_tokens_are_added_and_taken_away_one_by_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    made = {who: make_token(path, name=who, role="reader", lasts=None) for who in ("ann", "bob", "cid")}
    revoke_token(path, name="bob")
    tokens = Tokens(path)
    assert [tokens.entry(token) is not None for token in made.values()] == [True, False, True]
    with pytest.raises(UnknownNameError, match="unknown token 'bob'; expected one of: ann, cid"):
        revoke_token(path, name="bob")


def test_a_name_has_one_token_and_a_reserved_one_none(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    make_token(path, name="ann", role="reader", lasts=None)
    before = path.read_bytes()
    with pytest.raises(InvalidValueError, match="name is 'ann'"):
        make_token(path, name="ann", role="operator", lasts=None)
    for name in ("anonymous", "automatic", "", "a b", "../x", "x" * 65):
        with pytest.raises(MalformedFileError):
            make_token(path, name=name, role="reader", lasts=None)
    assert path.read_bytes() == before


def test_tokens_made_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    names = [f"name{number}" for number in range(4)]
    # fcntl's record locks are a process's own, so each maker is one.
    pids = []
    for name in names:
        pid = os.fork()
        if pid == 0:
            try:
                make_token(path, name=name, role="reader", lasts=None)
            finally:
                os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    assert sorted(entry.name for entry in read_entries(path)) == names


def test_a_token_ends_when_its_time_is_over(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    path = write(
        tmp_path / "tokens.yaml",
        [
            entry("past", token="1", expires=(now - timedelta(seconds=1)).isoformat()),
            entry("future", token="2", expires=(now + timedelta(hours=1)).isoformat()),
        ],
    )
    tokens = Tokens(path)
    assert tokens.entry("1") is None
    assert tokens.entry("2") is not None
    made = make_token(path, name="new", role="reader", lasts=duration("90d"))
    expires = Tokens(path).entry(made).expires
    assert timedelta(days=89) < expires - now < timedelta(days=91)


@pytest.mark.parametrize("text", ["", "90", "d", "0d", "-1d", "1w", "1.5d", "999999d"])
def test_a_duration_is_days_or_hours(text: str) -> None:
    assert duration("12h") == timedelta(hours=12)
    with pytest.raises(InvalidValueError, match="such as 90d or 12h"):
        duration(text)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([entry(role="boss")], "entry 'ann': role"),
        ([entry(sha256="abc")], "entry 'ann': sha256"),
        ([entry(token=SECRET), {**entry("bob", token="2"), "token": SECRET}], "entry 'bob': token"),
        ([{"name": "ann", "role": "reader", "sha256": SECRET}], "entry 'ann': sha256"),
        ([entry(expires="2030-01-01T00:00:00")], "entry 'ann': expires"),
        ([entry(expires="soon")], "entry 'ann': expires"),
        ([entry("anonymous")], "entry 'anonymous': name"),
        ([{"role": "reader"}], "entry number 1"),
        ([SECRET], "entry number 1"),
        ([entry(), entry(token="2")], "entry 'ann': its name or its sha256 stands there twice"),
        ([entry(), entry("bob")], "entry 'bob': its name or its sha256 stands there twice"),
        ({"tokens": []}, "no list"),
        (f"- name: [{SECRET}\n  x: *{SECRET}", "not YAML"),
        (f"- name: ann\n  role: reader\n  sha256: {'0' * 64}\n  role: operator\n", "not YAML at line 4"),
        (f"!!python/object/apply:os.system ['touch {SECRET}']", "not YAML"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_the_entrys_name_without_telling_what_stands_there(
    tmp_path: Path, content: object, told: str
) -> None:
    path = write(tmp_path / "tokens.yaml", content)
    with pytest.raises(MalformedFileError) as refused:
        Tokens(path)
    assert told in str(refused.value)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_everybody_may_write_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "tokens.yaml", [entry()], mode=0o602)
    with pytest.raises(MalformedFileError, match="everybody may write it"):
        Tokens(path)
    with pytest.raises(MalformedFileError, match="everybody may write it"):
        make_token(path, name="bob", role="reader", lasts=None)
    with pytest.raises(MissingPathError, match="SPINELINE_TOKENS"):
        Tokens(tmp_path / "absent.yaml")


@pytest.mark.parametrize("spoil", ["content", "mode", "absent"])
def test_a_file_that_breaks_leaves_the_last_good_entries_in_force_and_is_told(
    tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "tokens.yaml", [entry()])
    tokens = Tokens(path)
    assert tokens.problem is None
    if spoil == "content":
        write(path, [entry(role="boss")])
    elif spoil == "mode":
        path.chmod(0o666)
    else:
        path.unlink()
    for _ in range(3):
        assert tokens.entry(SECRET) is not None
    assert tokens.problem is not None
    assert len(caplog.records) == 1
    write(path, [entry("bob", token="2")])
    assert tokens.entry(SECRET) is None
    assert tokens.entry("2") is not None
    assert tokens.look() is None


def test_a_revoked_token_is_refused_from_the_next_request_on(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    token = make_token(path, name="ann", role="reader", lasts=None)
    tokens = Tokens(path)
    assert tokens.entry(token) is not None
    revoke_token(path, name="ann")
    assert tokens.entry(token) is None
    assert make_token(path, name="ann", role="reader", lasts=None) != token


def test_every_entry_is_compared_in_constant_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import components.serve_model.tokens as module

    path = write(tmp_path / "tokens.yaml", [entry(f"name{number}", token=str(number)) for number in range(5)])
    tokens, compared = Tokens(path), []
    real = module.hmac.compare_digest

    def counted(first: str, second: str) -> bool:
        compared.append(first)
        return real(first, second)

    monkeypatch.setattr(module.hmac, "compare_digest", counted)
    for token in ("0", "4", "none"):
        compared.clear()
        tokens.entry(token)
        assert compared == [digest_of(str(number)) for number in range(5)]


def test_a_linked_file_is_replaced_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "tokens.yaml"
    link.symlink_to(tmp_path / "real" / "tokens.yaml")
    make_token(link, name="ann", role="reader", lasts=None)
    make_token(link, name="bob", role="reader", lasts=None)
    assert link.is_symlink()
    assert len(read_entries(tmp_path / "real" / "tokens.yaml")) == 2


def test_following_a_file_while_it_is_written_never_fails(tmp_path: Path) -> None:
    path = tmp_path / "tokens.yaml"
    keep = make_token(path, name="keep", role="reader", lasts=None)
    tokens, stop = Tokens(path), threading.Event()

    def change() -> None:
        for number in range(20):
            make_token(path, name=f"name{number}", role="reader", lasts=None)
        stop.set()

    writer = threading.Thread(target=change)
    writer.start()
    while not stop.is_set():
        assert tokens.entry(keep) is not None
        assert tokens.problem is None
    writer.join()
