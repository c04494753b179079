"""Dashboards are what their source makes, lie side by side, and ask for what is exported, in its unit."""

import itertools
import shutil
import subprocess
import sys

import pytest
import yaml

UNITS = {"none", "short", "s", "dtdurations", "bytes", "percentunit", "reqps", "lengthmm", "bool_yes_no"}
KINDS = {"timeseries", "stat", "table", "state-timeline"}


def panels(observability):
    return [(name, panel) for name, page in observability.dashboards().items() for panel in page["panels"]]


def test_the_files_are_those_that_the_source_makes(observability, tmp_path):
    folder = observability.folder / "grafana"
    subprocess.run([sys.executable, folder / "dashboards.py", tmp_path], check=True)
    made = {file.name: file.read_text() for file in tmp_path.glob("*.json")}
    assert made == {file.name: file.read_text() for file in folder.glob("*.json")}
    assert set(made) == {"training.json", "serving.json", "registry.json"}


def test_a_page_is_one_that_grafana_takes(observability):
    pages = observability.dashboards()
    assert len({page["uid"] for page in pages.values()}) == len(pages)
    for page in pages.values():
        assert page["title"] and page["description"] and page["schemaVersion"] >= 39 and page["time"]["to"] == "now"
        assert page["templating"]["list"][0]["type"] == "datasource"
        ids = [panel["id"] for panel in page["panels"]]
        assert sorted(ids) == list(range(1, len(ids) + 1))


def test_every_panel_says_what_it_shows_in_a_unit_that_grafana_has(observability):
    for name, panel in panels(observability):
        where = f"{name}: {panel['title']}"
        assert panel["type"] in KINDS and panel["description"].endswith("."), where
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, where
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, where
        assert panel["targets"] and all(target["legendFormat"] for target in panel["targets"]), where
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"]), where


def test_a_panels_unit_is_that_of_what_it_asks_for(observability):
    units = {
        "_ratio": {"percentunit"},
        ":ratio5m": {"percentunit"},
        "_bytes": {"bytes"},
        ":rate5m": {"reqps"},
        ":p95_15m": {"s"},
        "_age_seconds": {"dtdurations"},
        "_epoch_seconds": {"s", "dtdurations"},
        "_spacing_mm:mean1d": {"lengthmm"},
    }
    for name, panel in panels(observability):
        unit = panel["fieldConfig"]["defaults"]["unit"]
        for metric in {metric for target in panel["targets"] for metric in observability.names(target["expr"])}:
            for ending, allowed in units.items():
                assert not metric.endswith(ending) or unit in allowed, f"{name}, {panel['title']}: {metric} in {unit}"


def test_no_panel_lies_on_another_or_beyond_the_page(observability):
    for name, page in observability.dashboards().items():
        places = [(panel["title"], panel["gridPos"]) for panel in page["panels"]]
        for title, place in places:
            assert place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["h"] > 2, f"{name}: {title}"
        for (first, one), (second, other) in itertools.combinations(places, 2):
            is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
            is_above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
            assert is_beside or is_above, f"{name}: {first} lies on {second}"


def test_every_query_and_variable_asks_for_what_is_exported_or_recorded(observability, exported):
    known = exported | observability.recorded()
    for place, expr in observability.queries().items():
        assert observability.names(expr) <= known, place
        assert observability.names(expr) or "ALERTS" in expr or "up{" in expr, place
        assert "$" not in expr, f"{place}: a variable that nothing fills"
    for page in observability.dashboards().values():
        variables = page["templating"]["list"][1:]
        assert all(observability.names(variable["definition"]) <= known for variable in variables)
        names = {f"${variable['name']}" for variable in variables} | {"$__rate_interval"}
        for panel in page["panels"]:
            for target in panel["targets"]:
                assert {word for word in ("$namespace", "$candidate") if word in target["expr"]} <= names


def test_every_exported_metric_is_asked_for_somewhere(observability, exported):
    asked = {
        name
        for expr in [*observability.queries().values(), *(rule["expr"] for rule in observability.rules())]
        for name in observability.names(expr)
    }
    unasked = exported - asked
    # Read by people and by node-exporter; parts of histograms that are asked for otherwise.
    assert {name.removeprefix("spineline_") for name in unasked} == {
        "supervisor_failed_looks_total",
        "supervisor_given_up_total",
        "supervisor_looks_total",
        "supervisor_retries_total",
        "training_finished",
        "vertebrae_found_bucket",
        "input_spacing_mm_bucket",
        "segmentation_stage_seconds_sum",
        "segmentation_stage_seconds_count",
    }


def test_config_maps_are_made_of_all_files_and_grafana_finds_its_own(observability):
    made = yaml.safe_load((observability.folder / "kustomization.yaml").read_text())["configMapGenerator"]
    files = {file for each in made for file in each["files"]}
    present = [*(observability.folder / "grafana").glob("*.json"), *observability.rule_files]
    assert files == {file.relative_to(observability.folder).as_posix() for file in present}
    for each in made:
        is_page = each["files"][0].startswith("grafana/")
        labels = each.get("options", {}).get("labels", {})
        assert (labels.get("grafana_dashboard") == "1") == is_page, each["name"]


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_builds_them(observability):
    done = subprocess.run(["kubectl", "kustomize", observability.folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = list(yaml.safe_load_all(done.stdout))
    assert {each["kind"] for each in made} == {"ConfigMap"} and len(made) == 4
    assert sum(each["metadata"]["labels"].get("grafana_dashboard") == "1" for each in made) == 3
