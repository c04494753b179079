"""A connection to Kubeflow Pipelines: kfp's own client, every answer looked at, every fault told in one line."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from pipelines.cluster import error_mapping
from pipelines.cluster.client import host_of, http_of, make_client, shown_host
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.errors import ClusterError, ConnectionLostError, NotSignedInError, WrongEndpointError
from pipelines.cluster.forwarding import Forward, forwarded
from pipelines.cluster.interrupts import ending_signals_interrupt
from pipelines.cluster.reconnection import Backoff, Patience
from spine.errors import InvalidValueError

TIMEOUT_S = (5.0, 30.0)
"""Seconds to wait for a connection, and for an answer."""
SUBMISSION = Patience(lost_s=300.0)
FORWARDED_READ = Patience(lost_s=60.0)
"""How long a read waits for another pod behind a port-forward."""
_PAGES_SIGN = "apiServerReady"
"""What the user interface adds to the API's health."""
_UI_SERVICE = "ml-pipeline-ui"
_LOG = logging.getLogger(__name__)
T = TypeVar("T")
Told = Callable[[str], None]
"""Told what the user should know meanwhile, a line at a time."""


class Connection:
    """kfp's client for one endpoint, with which answers are asked for and waited for."""

    def __init__(self, *, client: Any, endpoint: Endpoint, host: str, forward: Forward | None = None) -> None:
        """Use ``client`` (a kfp.Client) for ``host``, which ``forward`` keeps reachable where there is one."""
        self.api = client
        self.endpoint = endpoint
        self.host = host
        self._forward = forward
        self._http = http_of(client)
        self._is_insisting = False
        self._has_pages = False
        self.namespace: str | None = None
        """What requests name: the user's namespace where Kubeflow has many users, None where it has one."""

    def ask(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """Make one request; raises the ClusterError that says what was wrong."""
        from kfp_server_api.exceptions import ApiException, ApiTypeError, OpenApiException
        from urllib3.exceptions import HTTPError

        if self._forward:
            self._forward.ensure()
        self._http.last_response = None
        try:
            answer = call(**arguments, _request_timeout=TIMEOUT_S)
        except ApiTypeError:
            raise
        except ApiException as error:
            raise self._fault(error) from error
        except HTTPError as error:
            raise error_mapping.of_network(error, place=self.place) from error
        except OSError as error:
            raise NotSignedInError(f"{error.filename}: {error.strerror}; expected a file that can be read") from error
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # The client stumbles over faults that carry no text: the fault itself is behind that.
            if isinstance(error.__context__, ApiException):
                raise self._fault(error.__context__) from error
            if self._http.last_response is None and not isinstance(error, OpenApiException):
                # Nothing came because nothing could be sent; the error's own words would quote the token.
                raise error_mapping.unsendable(self.place, self.endpoint) from None
            self._require_json()
            raise error_mapping.wrong_endpoint(self.place, why=f"an answer that is not its own ({error})") from error
        self._require_json()
        return answer

    def read(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """Make one request that changes nothing; it is made again where a port-forward loses it."""
        if self._forward is None or self._is_insisting:
            return self.ask(call, **arguments)
        return self.insist(lambda: self.ask(call, **arguments), on_wait=_LOG.warning, patience=FORWARDED_READ)

    def read_json(self, path: str) -> Any:
        """Return what is below ``/apis/v2beta1/`` at ``path``, for endpoints that kfp's client has no method for."""
        client = self.api.runs.run_service_get_run.__self__.api_client

        def call(*, _request_timeout: Any) -> Any:
            return client.call_api(
                f"/apis/v2beta1/{path}",
                "GET",
                header_params={"Accept": "application/json"},
                response_type="object",
                auth_settings=["Bearer"],
                _return_http_data_only=True,
                _request_timeout=_request_timeout,
            )

        return self.read(call)

    def insist(self, attempt: Callable[[], T], *, on_wait: Told, patience: Patience | None = None) -> T:
        """Call ``attempt`` until the connection holds; ``on_wait`` is told why there is a wait, and that it is over.

        Raises the last error once ``patience`` (SUBMISSION) has ended, and at once one that no wait mends.
        """
        waits = Backoff(patience or SUBMISSION)
        while True:
            self._is_insisting = True
            try:
                # One that lives on although its pod is gone looks well until a request is lost.
                if self._forward and waits.lost_in_a_row:
                    self._forward.restart()
                answer = attempt()
            except ClusterError as error:
                wait_s = waits.after(error)
                if wait_s is None:
                    raise
                on_wait(f"{error}; trying again in {wait_s:g} s")
                time.sleep(wait_s)
            else:
                if waits.count:
                    on_wait("connected again")
                return answer
            finally:
                self._is_insisting = False

    def wrong(self, why: str) -> WrongEndpointError:
        """Return the error of an answer that Kubeflow Pipelines would not give."""
        return error_mapping.wrong_endpoint(self.place, why=why)

    def required(self, made: Any, field: str) -> str:
        """Return the id that the server gave to what it made; raises WrongEndpointError where it gave none."""
        given = getattr(made, field, None)
        if not given:
            raise self.wrong(f"an answer without {field}")
        return str(given)

    def meet(self) -> None:
        """Ask who answers, and for whom; raises WrongEndpointError where it is not Kubeflow Pipelines."""
        health = self.read(self.api.healthzs.healthz_service_get_healthz)
        self._has_pages = _PAGES_SIGN in str(self._http.last_response.data)
        is_shared = getattr(health, "multi_user", None)
        if not isinstance(is_shared, bool):
            if self._has_pages:
                raise ConnectionLostError(f"{self.place}: the API behind its pages is away; expected one that is ready")
            raise self.wrong("it doesn't say whether it has many users")
        if is_shared and not self.endpoint.namespace:
            raise InvalidValueError(
                "kubeflow.namespace", None, expected=f"the user's namespace: {self.place} has many users"
            )
        self.namespace = self.endpoint.namespace if is_shared else None

    @property
    def place(self) -> str:
        """How messages name the endpoint."""
        forward = self.endpoint.port_forward
        return f"Kubeflow Pipelines at {forward} (port-forward)" if self._forward else f"{self.host}"

    def link(self, run_id: str) -> str:
        """Return the address of a run in the user interface."""
        page = f"/#/runs/details/{run_id}"
        if self._forward:
            # The API's own service has no pages; those of its namespace have.
            service = None if self._has_pages else _UI_SERVICE
            return f"http://localhost:8080{page} (while `{self._forward.by_hand(8080, service=service)}` runs)"
        return f"{shown_host(self.host)}{page}"

    def _fault(self, error: Any) -> ClusterError:
        if not error.status:
            return error_mapping.of_network(error, place=self.place)
        body = error.body or ""
        if isinstance(body, bytes):
            body = body.decode(errors="replace")
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        is_page = "html" in headers.get("content-type", "") or body.lstrip().startswith("<")
        if 300 <= error.status < 400:
            return error_mapping.of_redirect(headers.get("location", ""), place=self.place, endpoint=self.endpoint)
        return error_mapping.of_answer(error.status, body, is_page=is_page, place=self.place, endpoint=self.endpoint)

    def _require_json(self) -> None:
        response = self._http.last_response
        kind = (response.getheader("content-type") or "") if response is not None else "application/json"
        if "html" in kind:
            raise error_mapping.of_page(self.place, self.endpoint)


@contextmanager
def connected(endpoint: Endpoint) -> Iterator[Connection]:
    """Yield a connection that has answered once; SIGTERM and SIGHUP are as Ctrl-C to the block.

    Raises InvalidValueError or MissingPathError for what the endpoint names wrongly, ClusterError for what answers.
    """
    with ending_signals_interrupt(), forwarded(None if endpoint.host else endpoint.port_forward) as forward:
        host = forward.url if forward else host_of(endpoint)
        connection = Connection(client=make_client(endpoint, host), endpoint=endpoint, host=host, forward=forward)
        connection.meet()
        yield connection
