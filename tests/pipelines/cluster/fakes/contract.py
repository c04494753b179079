"""KFP's own contract, read off its published client: every path, query and body that a server takes."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import kfp_server_api
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

_PARAMETER = re.compile(r":param (\w+): ?(.*)\n\s*:type \w+: ([\w(), ]+)")
_SERVICES = ("Healthz", "Experiment", "Pipeline", "PipelineUpload", "Run", "RecurringRun")
_FILTERED = ("display_name", "name", "recurring_run_id")
_PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "object": object, "datetime": str}


class BrokenContractError(Exception):
    """A request that KFP's own models do not know."""


@dataclass(frozen=True)
class Route:
    """One operation of the API."""

    operation: str
    method: str
    path: re.Pattern[str]
    query: frozenset[str]
    body: str | None
    """Model of the body; "file" for an upload."""
    answer: str

    def check_query(self, query: dict[str, str]) -> None:
        if unknown := set(query) - self.query:
            raise BrokenContractError(f"{self.operation} takes no query {sorted(unknown)}; known: {sorted(self.query)}")


class _Recorder:
    """Takes the place of an ApiClient and keeps what an operation would send."""

    client_side_validation = False

    def select_header_accept(self, kinds: list[str]) -> str:
        return kinds[0]

    select_header_content_type = select_header_accept

    def call_api(self, path: str, method: str, path_params: Any, query_params: Any, _headers: Any, **sent: Any) -> Any:
        return path, method, path_params, query_params, sent


def routes() -> list[Route]:
    """Return every operation of KFP's services that Spineline could call."""
    found = []
    for service in _SERVICES:
        api = getattr(kfp_server_api, f"{service}ServiceApi")(_Recorder())
        for name, method in inspect.getmembers(api, inspect.ismethod):
            if name.endswith("_with_http_info"):
                found.append(_route(name.removesuffix("_with_http_info"), method))
    return found


def _route(operation: str, method: Any) -> Route:
    # Each parameter is given its own name, by which it is found again among what is sent.
    types = {name: kind for name, _, kind in _PARAMETER.findall(inspect.getdoc(method) or "")}
    own = {name: name for name in types if name != "async_req" and not name.startswith("_")}
    path, verb, _, query, sent = method(**own)
    body = "file" if sent["files"] else types[sent["body"]] if sent["body"] else None
    pattern = re.compile("^" + re.sub(r"\{([\w.]+)\}", lambda m: f"(?P<{m[1].replace('.', '_')}>[^/:]+)", path) + "$")
    return Route(operation, verb, pattern, frozenset(name for name, _ in query), body, sent["response_type"])


def check_model(value: Any, kind: str, *, where: str) -> None:
    """Raise BrokenContractError unless JSON is what a model of KFP's client says."""
    if value is None:
        return
    if kind in _PLAIN:
        if not isinstance(value, _PLAIN[kind]):
            raise BrokenContractError(f"{where} is {value!r}; KFP takes a {kind}")
    elif found := re.fullmatch(r"list\[(.*)\]", kind):
        for item in value:
            check_model(item, found[1], where=f"{where}[]")
    elif found := re.fullmatch(r"dict\(str, (.*)\)", kind):
        for name, item in value.items():
            check_model(item, found[1], where=f"{where}.{name}")
    else:
        _check_fields(value, getattr(kfp_server_api, kind), where=where)


def _check_fields(value: Any, model: Any, *, where: str) -> None:
    if not model.openapi_types:
        known = {item for name, item in vars(model).items() if name.isupper()}
        if value not in known:
            raise BrokenContractError(f"{where} is {value!r}; KFP takes one of {sorted(known)}")
        return
    fields = {model.attribute_map[name]: kind for name, kind in model.openapi_types.items()}
    if not isinstance(value, dict) or set(value) - set(fields):
        raise BrokenContractError(f"{where} is {value!r}; KFP's {model.__name__} has {sorted(fields)}")
    for name, item in value.items():
        check_model(item, fields[name], where=f"{where}.{name}")


def check_filter(text: str) -> dict[str, str]:
    """Return what a filter asks to be equal; raises BrokenContractError for one that KFP does not read."""
    import json

    content = json.loads(text)
    check_model(content, "V2beta1Filter", where="filter")
    wanted = {}
    for predicate in content["predicates"]:
        if predicate["operation"] != "EQUALS" or predicate["key"] not in _FILTERED:
            raise BrokenContractError(f"filter {predicate}; this server knows EQUALS of {_FILTERED}")
        wanted[predicate["key"]] = predicate["string_value"]
    return wanted


def check_pipeline(documents: list[dict[str, Any]]) -> None:
    """Raise unless a compiled pipeline is one by KFP's own messages, its pods' settings by those of kfp-kubernetes."""
    json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())
    for document in documents[1:]:
        json_format.ParseDict(document, pipeline_spec_pb2.PlatformSpec())
        executors = document["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        for settings in executors.values():
            json_format.ParseDict(settings, kubernetes_executor_config_pb2.KubernetesExecutorConfig())


def check_arguments(given: dict[str, Any], specification: dict[str, Any]) -> None:
    """Raise BrokenContractError unless a run's arguments are those that its pipeline takes, each of its type."""
    types = {"STRING": str, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": (int, float), "BOOLEAN": bool}
    known = specification["root"].get("inputDefinitions", {}).get("parameters", {})
    if unknown := set(given) - set(known):
        raise BrokenContractError(f"arguments {sorted(unknown)} are not the pipeline's; known: {sorted(known)}")
    for name, about in known.items():
        if name in given:
            if not isinstance(given[name], types.get(about["parameterType"], object)):
                raise BrokenContractError(f"argument {name} is {given[name]!r}; expected {about['parameterType']}")
        elif not about.get("isOptional"):
            raise BrokenContractError(f"argument {name} is missing")


def listed(items: Iterator[Any], wanted: dict[str, str]) -> list[Any]:
    """Return the items that a filter asks for."""
    return [item for item in items if all(getattr(item, key) == value for key, value in wanted.items())]
