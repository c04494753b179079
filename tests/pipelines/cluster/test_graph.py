"""Graphs of pipelines that are not ours: whatever the server holds, what can't be read is empty."""

import pytest

from pipelines.cluster.graph import Graph, graph_of

LOOPED_IN_ITSELF = {
    "root": {"dag": {"tasks": {"a": {"componentRef": {"name": "comp"}}}}},
    "components": {"comp": {"dag": {"tasks": {"a": {"componentRef": {"name": "comp"}}}}}},
}


@pytest.mark.parametrize(
    "specification",
    [
        None,
        {},
        "workflow: v1",
        ["a"],
        {"pipeline_spec": "text"},
        {"root": {"dag": {"tasks": {"a": {}}}}},
        {"root": {"dag": {"tasks": ["a"]}}},
        {"root": None},
        {
            "root": {
                "dag": {"tasks": {"a": {"componentRef": {"name": "x"}, "parameterIterator": {"items": {"raw": "["}}}}}
            }
        },
        LOOPED_IN_ITSELF,
    ],
)
def test_what_is_of_another_shape_has_an_empty_graph(specification):
    assert graph_of(specification) == Graph()
