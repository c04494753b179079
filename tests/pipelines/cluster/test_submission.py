"""`spineline run --on kubernetes`: one version for one content, one run for one request, the link always told."""

import json

from tests.pipelines.cluster.fakes.kfp_server import at
from tests.pipelines.cluster.fakes.server import LOST, LOST_AFTER, Answer

CREATE_RUN = "POST /apis/v2beta1/runs"
UPLOAD = "POST /apis/v2beta1/pipelines/upload_version"


def test_a_run_is_submitted_with_its_arguments_and_account_and_its_link_is_told(kfp, submit):
    told = submit("--dataset", "v2", "--detach")
    assert told.code == 0, told.err
    (run,) = kfp.runs
    given = run.runtime_config.parameters
    assert (given["root"], given["revision"], given["repository"]) == (
        "/spineline",
        "v2",
        "https://git.example/spine-data.git",
    )
    assert json.loads(given["recipe"])["training"]["folds"] == [0, 1]
    assert run.service_account == "spineline-pipeline"
    assert f"{kfp.url}/#/runs/details/{run.run_id}" in told.out
    assert f"spineline follow {run.run_id[:8]} --profile" in told.out
    assert [one.display_name for one in kfp.experiments] == ["spineline"]


def test_the_same_content_is_one_version_and_another_is_a_second_one(kfp, submit):
    for options in ((), (), ("--seed", "7")):
        assert submit("--detach", *options).code == 0
    assert len(kfp.pipelines) == len(kfp.versions) == 1
    assert kfp.versions[0].display_name.startswith("train-candidate-")
    assert submit("--detach", "--folds", "0,1,2").code == 0
    assert len(kfp.pipelines) == 1
    assert len({version.display_name for version in kfp.versions}) == len(kfp.versions) == 2
    assert [run.pipeline_version_reference.pipeline_version_id for run in kfp.runs] == [
        *[kfp.versions[0].pipeline_version_id] * 3,
        kfp.versions[1].pipeline_version_id,
    ]


def test_a_version_is_found_again_behind_many_others(kfp, submit):
    kfp.page_size = 1
    for folds in ("0", "1", "2", "0"):
        assert submit("--detach", "--folds", folds).code == 0
    assert len(kfp.versions) == 3


def test_in_a_kubeflow_of_many_users_all_is_done_in_the_profiles_namespace(kfp_server, write_profile, spineline):
    kfp = kfp_server(multi_user=True)
    profile = write_profile({"host": kfp.url, "namespace": "ann", "experiment": "trials"})
    told = spineline("run", "--on", "kubernetes", "--profile", profile, "--folds", "0", "--detach")
    assert told.code == 0, told.err
    assert [(one.display_name, one.namespace) for one in kfp.experiments] == [("trials", "ann")]
    assert [one.namespace for one in kfp.pipelines] == ["ann"]


def test_many_users_without_a_namespace_is_refused_by_its_name(kfp_server, write_profile, spineline):
    kfp = kfp_server(multi_user=True)
    told = spineline("run", "--on", "kubernetes", "--profile", write_profile({"host": kfp.url}), "--detach")
    assert told.code == 2
    assert "kubeflow.namespace" in told.error
    assert kfp.runs == []


def test_a_run_whose_answer_was_lost_is_found_and_not_started_twice(kfp, submit):
    lost = [LOST_AFTER, LOST]
    kfp.fault = lambda method, path: lost.pop(0) if f"{method} {path}" == CREATE_RUN and lost else None
    told = submit("--detach")
    assert told.code == 0, told.err
    assert len(kfp.runs) == 1
    assert "trying again" in told.err


def test_a_gateway_that_is_away_for_a_while_is_waited_for(kfp, submit):
    away = [Answer(502, "<html>Bad Gateway</html>"), LOST, Answer(503, "upstream connect error")]
    kfp.fault = lambda method, path: away.pop(0) if f"{method} {path}" == UPLOAD and away else None
    told = submit("--detach")
    assert told.code == 0, told.err
    assert "status 502" in told.err and "connected again" in told.err
    assert len(kfp.versions) == len(kfp.runs) == 1


def test_a_server_that_refuses_the_pipeline_is_quoted_in_one_line(kfp, submit):
    refusal = Answer(400, {"code": 3, "message": "Invalid input error: unknown template format"})
    kfp.fault = lambda method, path: refusal if f"{method} {path}" == UPLOAD else None
    told = submit("--detach")
    assert told.code == 2
    assert "unknown template format" in told.error
    assert kfp.runs == []


def test_json_says_the_run_and_its_link_and_nothing_else(kfp, submit):
    told = submit("--detach", "--json")
    answer = json.loads(told.out)
    assert answer["run"] == kfp.runs[0].run_id
    assert answer["link"].endswith(answer["run"])
    kfp.script = [at("SUCCEEDED")]
    assert json.loads(submit("--json").out)["state"] == "SUCCEEDED"


def test_a_repository_on_this_machine_is_refused_before_anything_is_sent(kfp, submit):
    told = submit("--repository", ".", "--detach")
    assert told.code == 2
    assert "git URL that the cluster can clone" in told.error
    assert kfp.asked == []


def test_options_of_a_cluster_are_refused_on_this_machine(spineline):
    told = spineline("run", "--detach")
    assert told.code == 2
    assert "--detach" in told.error and "--on kubernetes" in told.error


def test_the_command_that_follows_can_be_pasted_whatever_the_profile_is_called(kfp, profile, spineline):
    odd = profile.rename(profile.with_name("my [prod] x.yaml"))
    told = spineline("run", "--on", "kubernetes", "--profile", odd, "--folds", "0,1", "--detach")
    assert told.code == 0, told.err
    assert f"spineline follow {kfp.runs[0].run_id[:8]} --profile '{odd}'" in told.out
