"""Whether pods start, answer and end as a caller would want: probes, and the time for the last request."""

from collections.abc import Iterator, Sequence

from components.serve_model import job_store, telemetry, uploads
from components.serve_model.limits import Limits
from manifests.objects import Object, Pod, of_kind, pods, told
from manifests.policies.selection import ports_of

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_READY = {"serve": "/readyz"}
"""Where being alive is not being ready."""
_LOADED_WITHIN_S = 600
"""What a server may take to import torch, load a version from a slow share and run its golden case."""


def component(labels: dict[str, str]) -> str:
    """Return which of our workloads a pod or object belongs to."""
    return labels.get("app.kubernetes.io/component", "")


def probes_mean_something(objects: Sequence[Object]) -> list[str]:
    """Each container is waited for, asked whether it can answer, and whether it still lives, on a port that it has."""
    return [fault for pod in pods(objects) for fault in (*_missing_probes(pod), *_wrong_probes(pod))]


def asked_paths(objects: Sequence[Object]) -> dict[str, set[str]]:
    """Return the paths that probes and Prometheus ask for, by component."""
    asked: dict[str, set[str]] = {}
    for pod in pods(objects):
        paths = asked.setdefault(component(pod.labels), set())
        paths |= {probe["httpGet"]["path"] for probe in _probes(pod) if "httpGet" in probe}
        paths |= {pod.annotations[key] for key in pod.annotations if key == "prometheus.io/path"}
    return asked


def _probes(pod: Pod) -> list[Object]:
    return [container[name] for container in pod.lasting for name in _PROBES if name in container]


def _missing_probes(pod: Pod) -> Iterator[str]:
    for container in pod.lasting:
        for name in _PROBES:
            if name not in container:
                yield f"{pod.where}, {container['name']}: no {name}"


def _wrong_probes(pod: Pod) -> Iterator[str]:
    for probe in _probes(pod):
        port = probe.get("httpGet", probe.get("tcpSocket", {})).get("port")
        if port is not None and port not in ports_of(pod):
            yield f"{pod.where}: a probe of port {port}, which it does not have"
    port = pod.annotations.get("prometheus.io/port")
    if port is not None and int(port) not in ports_of(pod).values():
        yield f"{pod.where}: Prometheus is sent to port {port}, which it does not have"
    for container in pod.lasting:
        ready = _READY.get(component(pod.labels))
        if ready is None:
            continue
        startup = container.get("startupProbe", {})
        if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < _LOADED_WITHIN_S:
            yield f"{pod.where}: ended while it loads"
        if container.get("readinessProbe", {}).get("httpGet", {}).get("path") != ready:
            yield f"{pod.where}: ready without a model"
        if container.get("livenessProbe", {}).get("httpGet", {}).get("path") == ready:
            yield f"{pod.where}: started again for want of a model"


def requests_may_end(objects: Sequence[Object]) -> list[str]:
    """A server is given longer to end than its longest request takes, and callers are sent elsewhere first."""
    faults = []
    for pod in pods(objects):
        grace_s = pod.spec.get("terminationGracePeriodSeconds", 30)
        sleep_s = max(
            one.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for one in pod.lasting
        )
        if component(pod.labels) == "serve" and not sleep_s:
            faults.append(f"{pod.where}: ends before every proxy has heard of it")
        longest_s = longest_request_s() if component(pod.labels) == "serve" else 0.0
        if grace_s <= longest_s + sleep_s:
            faults.append(f"{pod.where}: {grace_s} s to end, a request may take {longest_s:.0f} s after {sleep_s} s")
    for item in of_kind(objects, "Service"):
        held_s = item["spec"].get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds", 0)
        if component(item["spec"]["selector"]) == "serve" and held_s <= Limits().result_s:
            faults.append(f"{told(item)}: a caller may lose the replica that has its job")
    return faults


def longest_request_s() -> float:
    """Return the longest that a request takes: its upload, its wait, its scan, and what jobs take to end."""
    return uploads._LONGEST_S + 2 * max(telemetry._BUCKETS_S) + job_store._STOP_S
