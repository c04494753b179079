"""The fake server itself: what KFP's own models do not know, it does not take."""

import pytest

from tests.pipelines.cluster.fakes import contract
from tests.pipelines.cluster.fakes.contract import BrokenContractError, check_arguments, check_filter, check_model

SPECIFICATION = {
    "root": {
        "inputDefinitions": {
            "parameters": {
                "root": {"parameterType": "STRING"},
                "start_from": {"parameterType": "NUMBER_INTEGER", "isOptional": True},
            }
        }
    }
}


def test_every_operation_of_the_services_is_known_with_its_path_body_and_answer():
    found = {route.operation: route for route in contract.routes()}
    assert len(found) > 30
    assert found["run_service_retry_run"].path.match("/apis/v2beta1/runs/1-2:retry")
    assert found["run_service_create_run"].body == "V2beta1Run"
    assert found["upload_pipeline_version"].body == "file"
    assert found["run_service_get_run"].answer == "V2beta1Run"
    assert "page_token" in found["run_service_list_runs"].query


@pytest.mark.parametrize(
    "body",
    [
        {"displayname": "a"},
        {"display_name": 1},
        {"state": "DONE"},
        {"runtime_config": {"parameter": {}}},
        {"run_details": {"task_details": [{"state": "BUSY"}]}},
    ],
)
def test_a_body_that_the_models_do_not_know_is_refused(body):
    with pytest.raises(BrokenContractError):
        check_model(body, "V2beta1Run", where="body")


@pytest.mark.parametrize("given", [{}, {"root": 1}, {"root": "/r", "other": "x"}, {"root": "/r", "start_from": "1"}])
def test_arguments_that_are_not_the_pipelines_are_refused(given):
    with pytest.raises(BrokenContractError):
        check_arguments(given, SPECIFICATION)


def test_a_filter_that_kfp_does_not_read_is_refused():
    with pytest.raises(BrokenContractError):
        check_filter('{"predicates": [{"operation": "EQUAL", "key": "display_name", "string_value": "a"}]}')


def test_a_pipeline_that_is_not_one_is_refused():
    with pytest.raises(Exception, match="no field named"):
        contract.check_pipeline([{"pipelineInfo": {"name": "a"}, "steps": []}])
