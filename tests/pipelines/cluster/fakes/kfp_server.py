"""A Kubeflow Pipelines API server: keeps what it is sent; runs go through the states that a test writes down."""

import base64
import datetime
import email
import email.policy
import json
import re
import uuid
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kfp_server_api as models
import yaml

from tests.pipelines.cluster.fakes import contract
from tests.pipelines.cluster.fakes.server import LOGIN_PAGE, Answer, Server

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_ROUTES = contract.routes()
_ARTIFACT = re.compile(r"^/apis/v2beta1/runs/([0-9a-f-]+)/nodes/([\w-]+)/artifacts/main-logs:read$")
"""An endpoint of the API server that its published client has no method for."""
_TO_JSON = models.ApiClient().sanitize_for_serialization


class KfpServer(Server):
    """Answers as KFP does; every request is held to its contract, and what breaks it is kept in ``broken``."""

    def __init__(
        self,
        *,
        multi_user: bool = False,
        token: str | None = None,
        cookie: str | None = None,
        certificate: Path | None = None,
    ) -> None:
        self.multi_user, self.token, self.cookie = multi_user, token, cookie
        self.experiments: list[Any] = []
        self.pipelines: list[Any] = []
        self.versions: list[Any] = []
        self.runs: list[Any] = []
        self.schedules: list[Any] = []
        self.script: list[Any] = []
        """What each look at a run finds: a function that changes the run, or a fault; the last one stays."""
        self.has_pages = True
        """Whether the user interface answers for the API, as at a host, or the API itself."""
        self.page_size: int | None = None
        self.archived: dict[str, str] = {}
        """Logs that Argo archived, by the id of their node."""
        self.lost: set[str] = set()
        """Runs whose workflow was deleted."""
        self.keeps_workflows = True
        """Whether a deleted schedule's workflows stay where the request asks for it: since 2.16."""
        super().__init__(certificate=certificate)

    def reply(self, method: str, path: str, query: dict[str, str], body: bytes, headers: dict[str, str]) -> Any:
        self._require_sign_in(headers)
        if found := _ARTIFACT.match(path):
            return self._archived_log(found[1], found[2])
        for route in _ROUTES:
            found = route.path.match(path)
            if found and route.method == method:
                route.check_query(query)
                answer = getattr(self, f"_{route.operation}", self._unknown)(
                    query, self._content(route, body, headers), **found.groupdict()
                )
                content = _TO_JSON(answer)
                contract.check_model(content, route.answer if route.answer != "object" else "object", where="answer")
                if route.operation == "healthz_service_get_healthz" and self.has_pages:
                    return {**content, "apiServerReady": True}
                return content
        raise Answer(404, "404 page not found")

    def _require_sign_in(self, headers: dict[str, str]) -> None:
        if self.token and headers.get("authorization") != f"Bearer {self.token}":
            raise Answer(401, {"error": "Request header error: there is no valid token", "code": 16})
        if self.cookie and headers.get("cookie") != self.cookie:
            raise Answer(302, "", headers={"Location": "/dex/auth?client_id=kubeflow"})

    def _content(self, route: contract.Route, body: bytes, headers: dict[str, str]) -> Any:
        if route.body == "file":
            head = f"content-type: {headers['content-type']}\r\n\r\n".encode()
            (part,) = email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts()
            assert part.get_param("name", header="content-disposition") == "uploadfile"
            return part.get_content() if isinstance(part.get_content(), str) else part.get_content().decode()
        if route.body is None:
            return None
        content = json.loads(body)
        contract.check_model(content, route.body, where="body")
        return models.ApiClient().deserialize(SimpleNamespace(data=body), route.body)

    def _archived_log(self, run_id: str, node: str) -> Any:
        self._found(self.runs, "run_id", run_id)
        if node not in self.archived:
            raise Answer(404, {"error_message": "artifact not found: <nil>"})
        return {"data": base64.b64encode(self.archived[node].encode()).decode()}

    def _unknown(self, *_: Any, **__: Any) -> Any:
        raise Answer(501, {"code": 12, "message": "not in this server"})

    def _page(self, items: list[Any], field: str, answer: Any, query: dict[str, str]) -> Any:
        wanted = contract.check_filter(query["filter"]) if "filter" in query else {}
        found = contract.listed(iter(items), wanted)
        size = min(int(query.get("page_size") or 10), self.page_size or 1000)
        start = int(query.get("page_token") or 0)
        token = str(start + size) if start + size < len(found) else None
        return answer(**{field: found[start : start + size] or None, "next_page_token": token})

    def _namespace(self, namespace: str | None) -> None:
        if self.multi_user and not namespace:
            raise Answer(400, {"code": 3, "message": "Invalid input error: namespace is empty"})
        if not self.multi_user and namespace:
            raise Answer(400, {"code": 3, "message": "In single-user mode, namespace must be empty"})

    def _healthz_service_get_healthz(self, query: Any, body: Any) -> Any:
        return models.V2beta1GetHealthzResponse(multi_user=self.multi_user)

    def _experiment_service_list_experiments(self, query: Any, body: Any) -> Any:
        self._namespace(query.get("namespace"))
        return self._page(self.experiments, "experiments", models.V2beta1ListExperimentsResponse, query)

    def _experiment_service_create_experiment(self, query: Any, body: Any) -> Any:
        self._namespace(body.namespace)
        if any(known.display_name == body.display_name for known in self.experiments):
            raise Answer(409, {"code": 6, "message": f"Already exist error: {body.display_name}"})
        return self._added(self.experiments, body, "experiment_id")

    def _pipeline_service_list_pipelines(self, query: Any, body: Any) -> Any:
        return self._page(self.pipelines, "pipelines", models.V2beta1ListPipelinesResponse, query)

    def _pipeline_service_create_pipeline(self, query: Any, body: Any) -> Any:
        if any(known.display_name == body.display_name for known in self.pipelines):
            raise Answer(409, {"code": 6, "message": f"Already exist error: {body.display_name}"})
        return self._added(self.pipelines, body, "pipeline_id")

    def _pipeline_service_list_pipeline_versions(self, query: Any, body: Any, pipeline_id: str) -> Any:
        found = [one for one in self.versions if one.pipeline_id == pipeline_id]
        return self._page(found, "pipeline_versions", models.V2beta1ListPipelineVersionsResponse, query)

    def _upload_pipeline_version(self, query: Any, body: str) -> Any:
        if any((one.pipeline_id, one.display_name) == (query["pipelineid"], query["name"]) for one in self.versions):
            raise Answer(409, {"code": 6, "message": f"Already exist error: {query['name']}"})
        if not any(known.pipeline_id == query["pipelineid"] for known in self.pipelines):
            raise Answer(404, {"code": 5, "message": f"Pipeline {query['pipelineid']} not found"})
        documents = list(yaml.safe_load_all(body))
        contract.check_pipeline(documents)
        version = models.V2beta1PipelineVersion(
            pipeline_id=query["pipelineid"],
            display_name=query["name"],
            pipeline_spec={"pipeline_spec": documents[0], "platform_spec": documents[1]},
        )
        return self._added(self.versions, version, "pipeline_version_id")

    def _pipeline_service_get_pipeline_version(
        self, query: Any, body: Any, pipeline_id: str, pipeline_version_id: str
    ) -> Any:
        return self._found(self.versions, "pipeline_version_id", pipeline_version_id)

    def _run_service_create_run(self, query: Any, body: Any) -> Any:
        self._runnable(body)
        body.created_at = NOW + datetime.timedelta(seconds=len(self.runs))
        change(body, "PENDING")
        return self._added(self.runs, body, "run_id")

    def _run_service_list_runs(self, query: Any, body: Any) -> Any:
        self._namespace(query.get("namespace"))
        return self._page(self.runs[::-1], "runs", models.V2beta1ListRunsResponse, query)

    def _run_service_get_run(self, query: Any, body: Any, run_id: str) -> Any:
        run = self._found(self.runs, "run_id", run_id)
        if self.script:
            happens = self.script[0]
            if len(self.script) > 1:
                self.script.pop(0)
            if not callable(happens):
                raise happens
            happens(run)
        return run

    def _run_service_terminate_run(self, query: Any, body: Any, run_id: str) -> Any:
        run = self._found(self.runs, "run_id", run_id)
        if run.state not in ("PENDING", "RUNNING", "PAUSED"):
            message = f"Failed to terminate a run: InvalidInputError: Failed to terminate a run {run_id}. Row not found"
            raise Answer(400, {"code": 3, "message": message})
        change(run, "CANCELING")
        if run_id in self.lost:
            raise _no_workflow(run_id)
        return {}

    def _run_service_retry_run(self, query: Any, body: Any, run_id: str) -> Any:
        run = self._found(self.runs, "run_id", run_id)
        if run.state not in ("FAILED", "CANCELED"):
            raise Answer(400, {"code": 9, "message": "Only failed or canceled runs can be retried"})
        change(run, "RUNNING")
        return {}

    def _run_service_archive_run(self, query: Any, body: Any, run_id: str) -> Any:
        self._found(self.runs, "run_id", run_id).storage_state = "ARCHIVED"
        return {}

    def _recurring_run_service_list_recurring_runs(self, query: Any, body: Any) -> Any:
        self._namespace(query.get("namespace"))
        return self._page(self.schedules, "recurring_runs", models.V2beta1ListRecurringRunsResponse, query)

    def _recurring_run_service_create_recurring_run(self, query: Any, body: Any) -> Any:
        self._runnable(body)
        if len(body.trigger.cron_schedule.cron.split()) != 6:
            raise Answer(400, {"code": 3, "message": f"Invalid input error: cron {body.trigger.cron_schedule.cron}"})
        body.status = "ENABLED"
        return self._added(self.schedules, body, "recurring_run_id")

    def _recurring_run_service_delete_recurring_run(self, query: Any, body: Any, recurring_run_id: str) -> Any:
        self.schedules.remove(self._found(self.schedules, "recurring_run_id", recurring_run_id))
        if not (self.keeps_workflows and query.get("propagation_policy") == "ORPHAN"):
            self._delete_workflows(recurring_run_id)
        return {}

    def _recurring_run_service_get_recurring_run(self, query: Any, body: Any, recurring_run_id: str) -> Any:
        return self._found(self.schedules, "recurring_run_id", recurring_run_id)

    def _recurring_run_service_disable_recurring_run(self, query: Any, body: Any, recurring_run_id: str) -> Any:
        self._found(self.schedules, "recurring_run_id", recurring_run_id).status = "DISABLED"
        return {}

    def _recurring_run_service_enable_recurring_run(self, query: Any, body: Any, recurring_run_id: str) -> Any:
        self._found(self.schedules, "recurring_run_id", recurring_run_id).status = "ENABLED"
        return {}

    def begin_run(self, schedule: Any, *, state: str = "RUNNING") -> Any:
        """Start a run as a schedule does; the server lists it without a service account."""
        run = models.V2beta1Run(
            display_name=f"{schedule.display_name}-{len(self.runs)}",
            experiment_id=schedule.experiment_id,
            pipeline_version_reference=schedule.pipeline_version_reference,
            recurring_run_id=schedule.recurring_run_id,
            runtime_config=schedule.runtime_config,
            state=state,
            created_at=NOW,
        )
        return self._added(self.runs, run, "run_id")

    def _delete_workflows(self, recurring_run_id: str) -> None:
        """Lose the workflows that a schedule owns; the state of a run that has not ended stays as it is."""
        owned = [run for run in self.runs if run.recurring_run_id == recurring_run_id]
        self.lost.update(run.run_id for run in owned if run.state in ("PENDING", "RUNNING", "CANCELING"))

    def _runnable(self, body: Any) -> None:
        self._found(self.experiments, "experiment_id", body.experiment_id)
        version = self._found(self.versions, "pipeline_version_id", body.pipeline_version_reference.pipeline_version_id)
        contract.check_arguments(body.runtime_config.parameters, version.pipeline_spec["pipeline_spec"])

    def _added(self, items: list[Any], item: Any, key: str) -> Any:
        setattr(item, key, str(uuid.uuid4()))
        items.append(item)
        return item

    def _found(self, items: list[Any], key: str, wanted: str) -> Any:
        for item in items:
            if getattr(item, key) == wanted:
                return item
        raise Answer(404, {"code": 5, "message": f"ResourceNotFoundError: {key} {wanted} not found"})


def _no_workflow(run_id: str) -> Answer:
    """What the server answers where it is to stop a run whose workflow was deleted."""
    workflow = f"train-candidate-{run_id[:5]}"
    message = (
        f"Failed to terminate a run: InternalServerError: Failed to terminate run {run_id} due to error terminating its"
        f" workflow: Failed to terminate workflow {workflow} due to patching error after multiple retries: Failed to"
        f' terminate workflow {workflow} due to patching error: workflows.argoproj.io "{workflow}" not found'
    )
    return Answer(500, {"error": message, "code": 13, "message": message, "details": []})


def login_page() -> Answer:
    """What an authenticating proxy says to whoever is not signed in."""
    return Answer(200, LOGIN_PAGE)


def at(state: str, tasks: list[Any] | None = None, *, error: str | None = None) -> Any:
    """A happening: the run is in ``state``, with these tasks (see ``argo.tasks``)."""

    def happens(run: Any) -> None:
        change(run, state)
        run.run_details = models.V2beta1RunDetails(task_details=tasks or None)
        run.error = models.GoogleRpcStatus(code=13, message=error) if error else None

    return happens


def change(run: Any, state: str) -> None:
    """Put a run into a state; the server keeps every change with its time."""
    if run.state != state or not run.state_history:
        at_time = NOW + datetime.timedelta(minutes=len(run.state_history or []))
        run.state_history = [*(run.state_history or []), models.V2beta1RuntimeStatus(update_time=at_time, state=state)]
        run.finished_at = at_time if state in ("SUCCEEDED", "FAILED", "CANCELED") else None
    run.state = state
