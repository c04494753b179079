"""Crontabs: what Kubeflow's scheduler reads is taken, anything else refused, and a day that never comes."""

import pytest

from pipelines.cluster.cron import kubeflow_cron
from spine.errors import InvalidValueError


@pytest.mark.parametrize(
    "cron",
    [
        "*/15 * * * *",
        "0 2 * * mon-fri",
        "0 2 * * MON,wed",
        "0 2 1,15 * *",
        "30 4 1-7 */3 *",
        "5/20 * * jan-mar ?",
        "0 2 29 2 *",
        "0 2 31 1,2 *",
        "0 2 31 2 mon",
        "0 2 * * 0",
    ],
)
def test_a_crontab_is_taken_as_it_is_behind_its_seconds(cron):
    assert kubeflow_cron(cron) == f"0 {cron}"


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "0 2 * *",
        "0 0 2 * * *",
        "61 2 * * *",
        "0 24 * * *",
        "0 2 0 * *",
        "0 2 * 13 *",
        "0 2 * * 7",
        "*/0 * * * *",
        "10-5 * * * *",
        "foo * * * *",
        "0 2 * * funday",
        "0 2 * mon *",
        "0 2 * * fri-mon",
        "0 2 31 2 *",
        "0 2 31 4,6 ?",
        "0 2 30-31 2 *",
        "5/ * * * *",
        "1,,2 * * * *",
        "0 2 L * *",
        "1_0 2 * * *",
        "-5 2 * * *",
        "*-5 * * * *",
        "/5 * * * *",
        "at night",
        "@daily",
        "0 2 * * mon; rm",
    ],
)
def test_anything_else_is_refused(cron):
    with pytest.raises(InvalidValueError, match="five fields"):
        kubeflow_cron(cron)


def test_a_refusal_says_which_field_and_what_it_takes():
    with pytest.raises(InvalidValueError, match="'7' between 0 and 6, or names sun, mon"):
        kubeflow_cron("0 2 * * 7")
