"""What is wrong between here and Kubeflow is told in one line: the address, the sign-in, or the rights."""

import contextlib
import datetime
import ipaddress
import socket
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipelines.cluster import client, deadline
from tests.pipelines.cluster.conftest import kubeconfig
from tests.pipelines.cluster.fakes.kfp_server import at, login_page
from tests.pipelines.cluster.fakes.server import Answer, Server


def test_no_address_says_where_to_give_one(ask):
    told = ask()
    assert told.code == 2
    assert "kubeflow.host" in told.error and "--host" in told.error


def test_a_port_at_which_nothing_listens(ask):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = ask(host=f"http://127.0.0.1:{port}")
    assert told.code == 2
    assert f"http://127.0.0.1:{port}" in told.error and "refused" in told.error
    assert told.err.count("\n") == 1


def test_a_name_that_is_not_known(ask):
    told = ask(host="http://kubeflow.invalid")
    assert told.code == 2
    assert "http://kubeflow.invalid" in told.error and "name" in told.error


def test_something_else_at_the_address(ask):
    class Elsewhere(Server):
        def reply(self, *_):
            return {"hello": "world"}

    server = Elsewhere()
    server.fault = lambda method, path: Answer(404, "<html>nginx</html>")
    told = ask(host=server.url)
    assert told.code == 2
    assert "is not Kubeflow Pipelines" in told.error
    server.close()


def test_an_address_that_moved_to_https(ask, kfp):
    kfp.fault = lambda method, path: Answer(301, "", headers={"Location": kfp.url.replace("http:", "https:") + path})
    assert "it has moved to https://" in ask(host=kfp.url).error


def test_https_where_only_http_is_spoken(ask, kfp):
    assert "it speaks no TLS" in ask(host=kfp.url.replace("http:", "https:")).error


def test_a_host_without_its_scheme(ask, spineline):
    told = ask(host="kubeflow.example.org")
    assert told.code == 2
    assert "kubeflow.host" in told.error
    assert "expected an endpoint" in spineline("schedules", "--host", "kubeflow.example.org").error


def test_a_host_on_the_command_line_replaces_the_profiles(spineline, kfp, write_profile):
    profile = write_profile({"host": "http://127.0.0.1:1"})
    assert spineline("schedules", "--profile", profile, "--host", kfp.url).code == 0


def test_a_token_is_sent_and_read_again_for_every_request(kfp_server, ask, tmp_path):
    kfp = kfp_server(token="right")
    token = tmp_path / "token"
    token.write_text("right\n")
    assert ask(host=kfp.url, token_file=str(token)).code == 0
    token.write_text("wrong")
    told = ask(host=kfp.url, token_file=str(token))
    assert told.code == 2
    assert f"the token in {token} was refused or has expired" in told.error


def test_a_token_that_vanishes_while_a_run_is_followed_is_told(kfp_server, spineline, write_profile, tmp_path):
    kfp, token = kfp_server(token="right"), tmp_path / "token"
    token.write_text("right")
    kfp.script = [at("RUNNING"), lambda run: token.unlink(missing_ok=True)]
    profile = write_profile({"host": kfp.url, "token_file": str(token)})
    told = spineline("run", "--on", "kubernetes", "--profile", profile, "--folds", "0,1")
    assert told.code == 2
    assert str(token) in told.error and "follow it again" in told.error


def test_within_the_cluster_its_own_service_and_token_are_used_and_shown_to_nobody_else(
    kfp_server, spineline, write_profile, tmp_path, monkeypatch
):
    kfp, other = kfp_server(token="own"), kfp_server()
    for name in ("namespace", "token"):
        (tmp_path / name).write_text("own")
    monkeypatch.setattr(client, "_POD_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setattr(client, "_IN_CLUSTER_TOKEN", tmp_path / "token")
    monkeypatch.setattr(client, "_IN_CLUSTER_HOST", kfp.url)
    profile = write_profile({})
    assert spineline("schedules", "--profile", profile).code == 0
    assert spineline("schedules", "--profile", profile, "--host", other.url).code == 0
    assert not any("authorization" in headers for headers in other.headers)


def test_a_missing_or_empty_token_is_told_before_anything_is_sent(kfp, ask, tmp_path):
    assert "token" in ask(host=kfp.url, token_file=str(tmp_path / "none")).error
    (tmp_path / "empty").write_text("")
    assert "empty" in ask(host=kfp.url, token_file=str(tmp_path / "empty")).error
    assert kfp.asked == []


def test_cookies_are_sent_and_expired_ones_are_named(kfp_server, ask, tmp_path):
    kfp = kfp_server(cookie="oauth2_proxy_kubeflow=abc")
    cookies = tmp_path / "cookies"
    cookies.write_text("oauth2_proxy_kubeflow=abc\n")
    assert ask(host=kfp.url, cookies_file=str(cookies)).code == 0
    cookies.write_text("oauth2_proxy_kubeflow=old")
    told = ask(host=kfp.url, cookies_file=str(cookies))
    assert told.code == 2
    assert f"the cookies in {cookies} were refused or have expired" in told.error and "/dex/auth" in told.error


def test_a_login_page_in_place_of_an_answer(kfp, ask):
    kfp.fault = lambda method, path: login_page()
    told = ask(host=kfp.url)
    assert told.code == 2
    assert "no sign-in, or not the address of its API" in told.error and "kubeflow.token_file" in told.error


def test_rights_that_are_lacking_quote_the_server(kfp, ask):
    kfp.fault = lambda method, path: (
        Answer(403, {"code": 7, "message": "User 'ann' is not authorized with reason: get recurringruns"})
        if "recurring" in path
        else None
    )
    told = ask(host=kfp.url, namespace="team")
    assert told.code == 2
    assert "User 'ann' is not authorized" in told.error and "'team'" in told.error


@pytest.fixture
def certificate(tmp_path):
    """A certificate of this machine that it has signed itself, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab")])
    now = datetime.datetime.now(datetime.UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + made.public_bytes(Encoding.PEM)
    path = tmp_path / "lab.pem"
    path.write_bytes(pem)
    return path


def test_a_certificate_is_trusted_by_the_authority_that_the_profile_names(kfp_server, ask, certificate):
    kfp = kfp_server(certificate=certificate)
    told = ask(host=kfp.url)
    assert told.code == 2
    assert "certificate is not trusted" in told.error and "kubeflow.ca_file" in told.error
    assert ask(host=kfp.url, ca_file=str(certificate)).code == 0


def test_a_certificate_of_an_authority_that_is_not_there(kfp, ask, tmp_path):
    told = ask(host=kfp.url, ca_file=str(tmp_path / "ca.pem"))
    assert told.code == 2
    assert "ca.pem" in told.error


@pytest.mark.parametrize("answer", [{"status": "ok"}, {}, [], None, "ok", {"multi_user": None}])
def test_a_service_that_answers_json_is_not_taken_for_kubeflow(ask, answer):
    class Elsewhere(Server):
        def reply(self, *_):
            return answer

    server = Elsewhere()
    told = ask(host=server.url)
    server.close()
    assert told.code == 2
    assert "is not Kubeflow Pipelines" in told.error


def test_pages_whose_api_is_away_are_told_as_that(ask, kfp):
    kfp.fault = lambda method, path: Answer(200, {"apiServerReady": False, "buildDate": "today"})
    assert "the API behind its pages is away" in ask(host=kfp.url).error


def test_an_answer_about_another_run_is_not_believed(submit, spineline, profile, kfp):
    assert submit("--detach").code == 0
    kfp.fault = lambda method, path: Answer(200, {"status": "ok"}) if "/runs/" in path else None
    told = spineline("status", kfp.runs[0].run_id, "--profile", profile)
    assert told.code == 2
    assert "with something else" in told.error


@pytest.mark.parametrize("kind", ["token", "cookies"])
@pytest.mark.parametrize("content", ["s3cr\u201det".encode(), b"s3cr\xff\x00et", b"s3cr\x01et", "s\u00e9cret".encode()])
def test_what_no_request_can_carry_is_refused_and_not_quoted(kfp, ask, tmp_path, kind, content):
    shown = tmp_path / "shown"
    shown.write_bytes(content)
    told = ask(host=kfp.url, **{f"{kind}_file": str(shown)})
    assert told.code == 2
    assert str(shown) in told.error and "ASCII" in told.error
    assert "s3cr" not in told.err and "cret" not in told.err
    assert kfp.asked == []


def test_a_token_that_becomes_unusable_while_a_run_is_followed_is_not_quoted(
    kfp_server, spineline, write_profile, tmp_path
):
    kfp, token = kfp_server(token="right"), tmp_path / "token"
    for content in (b"s3cr\net", "s3cr\u201det".encode(), b"s3cr\xffet"):
        token.write_text("right")

        def spoil(run, content=content):
            at("RUNNING")(run)
            token.write_bytes(content)

        kfp.script = [at("RUNNING"), spoil]
        profile = write_profile({"host": kfp.url, "token_file": str(token)})
        told = spineline("run", "--on", "kubernetes", "--profile", profile, "--folds", "0,1")
        assert told.code == 2
        assert f"{token} can't be sent" in told.error and "follow it again" in told.error
        assert "s3cr" not in told.err


@pytest.mark.parametrize("host", ["http://name/#/pipelines", "http://name/?ns=x", "http://name?ns=x", "http://name#/x"])
def test_the_address_of_a_page_in_the_browser_is_refused_as_that(spineline, profile, host):
    told = spineline("schedules", "--profile", profile, "--host", host)
    assert told.code == 2
    assert "without '?' and '#'" in told.error


def test_an_answer_that_only_drips_is_given_up(kfp, ask, monkeypatch):
    monkeypatch.setattr(deadline, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            client, _ = server.accept()
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n{")
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.sendall(b" ")
                    time.sleep(0.05)

        threading.Thread(target=drip, daemon=True).start()
        began = time.monotonic()
        told = ask(host=f"http://127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - began < 4
    assert told.code == 2
    assert "no answer in time; expected an answer" in told.error


@pytest.mark.parametrize(
    "content", [b"a: [b\n c: }", b"\xff\xfe\x00", b"- 1", b"hello", b"", b"contexts: 3\nclusters: x"]
)
def test_a_kubeconfig_that_is_none_is_told_in_one_line(submit, monkeypatch, tmp_path, content):
    path = tmp_path / "broken"
    path.write_bytes(content)
    kubeconfig(monkeypatch, path)
    told = submit("--detach")
    assert told.code == 0, told.err
    assert "kubeconfig" in told.err and "Traceback" not in told.err
