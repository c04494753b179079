"""An exception of kfp's client, told as the one line that says whose fault it is: address, sign-in, rights, server."""

import json
from typing import Any
from urllib.parse import urlsplit

from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.errors import (
    AlreadyThereError,
    ClusterError,
    ConnectionLostError,
    NotAllowedError,
    NotSignedInError,
    NotThereError,
    ServerFaultError,
    WrongEndpointError,
)

_EXAMPLE = "https://kubeflow.example.org/pipeline"
_COME_AGAIN = (408, 429, 502, 503, 504)
_BROKEN_OFF = {
    "Read timed out": "no answer in time",
    "Connection aborted": "the connection was closed",
    "RemoteDisconnected": "the connection was closed",
    "Connection reset": "the connection was closed",
}
"""What an address that is right can meet."""
_UNREACHED = {
    "Name or service not known": "the name is not known",
    "Temporary failure in name resolution": "the name can't be looked up",
    "No address associated with hostname": "the name has no address",
    "Connection refused": "the connection is refused",
    "timed out": "no answer in time",
}


def of_answer(status: int, body: str, *, is_page: bool, place: str, endpoint: Endpoint) -> ClusterError:
    """Return the error of an answer whose HTTP status is not 2xx; ``is_page`` says that it is HTML."""
    reason = message_in(body)
    if status == 401:
        return not_signed_in(place, endpoint, why="401")
    if status == 403:
        who = "a user or service account that may use pipelines"
        where = f" in namespace '{endpoint.namespace}'" if endpoint.namespace else ""
        return NotAllowedError(f"{place} refused this (403): {reason or 'no reason given'}; expected {who}{where}")
    if status in _COME_AGAIN:
        return ConnectionLostError(f"{place} answers with status {status}; expected Kubeflow Pipelines behind it")
    if status >= 500:
        return ServerFaultError(f"{place} met a fault of its own ({status}): {reason or 'no reason given'}")
    if status in (404, 405) and (is_page or not reason):
        return wrong_endpoint(place, why=f"status {status} for /apis/v2beta1")
    if status == 404:
        return NotThereError(f"{place}: {reason}")
    if status == 409:
        return AlreadyThereError(f"{place} refused this (409): {reason or 'it is there already'}")
    return ClusterError(f"{place} refused this ({status}): {reason or body[:120] or 'no reason given'}")


def of_redirect(location: str, *, place: str, endpoint: Endpoint) -> ClusterError:
    """Return the error of being sent elsewhere: to the same place by https, else to a sign-in."""
    if location.startswith("https://") and place.startswith("http://") and _host(location) == _host(place):
        return wrong_endpoint(place, why=f"it has moved to https://{_host(location)}")
    return not_signed_in(place, endpoint, why=f"sent to {location.split('?')[0] or 'another page'}")


def wrong_endpoint(place: str, *, why: str) -> WrongEndpointError:
    """Return the error of an address at which something else answers."""
    return WrongEndpointError(
        f"{place} is not Kubeflow Pipelines ({why}); expected the address of its user interface, such as {_EXAMPLE}"
    )


def not_signed_in(place: str, endpoint: Endpoint, *, why: str) -> NotSignedInError:
    """Return the error that names what was shown and refused: a token, cookies, or nothing."""
    if endpoint.token_file:
        found = f"the token in {endpoint.token_file} was refused or has expired ({why})"
        expected = "a token of a service account that Kubeflow accepts"
    elif endpoint.cookies_file:
        found = f"the cookies in {endpoint.cookies_file} were refused or have expired ({why})"
        expected = "cookies copied from a browser that is signed in"
    else:
        found, expected = f"asks for a sign-in ({why})", "kubeflow.token_file or kubeflow.cookies_file in the profile"
    return NotSignedInError(f"{place}: {found}; expected {expected}")


def of_page(place: str, endpoint: Endpoint) -> NotSignedInError:
    """Return the error of a page for people where JSON was asked for."""
    shown = endpoint.token_file or endpoint.cookies_file
    found = f"what {shown} holds was refused or has expired" if shown else "no sign-in"
    expected = "" if shown else "kubeflow.token_file or kubeflow.cookies_file in the profile, or "
    return NotSignedInError(
        f"{place}: a page in place of JSON: {found}, or not the address of its API; expected {expected}an address such"
        f" as {_EXAMPLE}"
    )


def unsendable(place: str, endpoint: Endpoint) -> NotSignedInError:
    """Return the error of a token or cookies that no request can carry; what they are is not told."""
    shown = endpoint.token_file or endpoint.cookies_file or "what it is shown"
    return NotSignedInError(f"{place}: {shown} can't be sent; expected one line of plain characters")


def of_network(error: Exception, *, place: str) -> ClusterError:
    """Return the error of a request that no answer came to."""
    text = str(getattr(error, "reason", None) or error)
    if any(sign in text.upper().replace(" ", "_") for sign in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")):
        return wrong_endpoint(place, why="it speaks no TLS: http, not https")
    if "CERTIFICATE" in text.upper() or "SSL" in type(getattr(error, "reason", error)).__name__.upper():
        return ClusterError(
            f"{place}: its certificate is not trusted ({_first_line(text)[:160]}); expected kubeflow.ca_file in the"
            " profile to name the authority that signed it"
        )
    broken = next((message for sign, message in _BROKEN_OFF.items() if sign in text), None)
    if broken:
        return ConnectionLostError(f"{place} does not answer: {broken}; expected an answer")
    reason = next((message for sign, message in _UNREACHED.items() if sign in text), _first_line(text)[:160])
    return ConnectionLostError(
        f"{place} does not answer: {reason}; expected the address of Kubeflow Pipelines (--host, or kubeflow.host in"
        " the profile)"
    )


def message_in(body: str) -> str:
    """Return what KFP's JSON says of an error, on one line; empty where it is not such JSON."""
    try:
        content: Any = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(content, dict):
        return ""
    return _first_line(str(content.get("message") or content.get("error_message") or content.get("error") or ""))


def _host(url: str) -> str | None:
    return urlsplit(url).hostname


def _first_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[0]
