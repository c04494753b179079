"""How much memory workers may take: the machine's, or what a container leaves them."""

import pytest

from spine import workers
from spine.workers import free_memory


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A function that limits this process as a container does, in bytes."""
    monkeypatch.setattr(workers, "_CGROUP", tmp_path)

    def limit(maximum, *, used, cache):
        (tmp_path / "memory.max").write_text(f"{maximum}\n")
        (tmp_path / "memory.current").write_text(f"{used}\n")
        (tmp_path / "memory.stat").write_text(f"anon {used - cache}\ninactive_file {cache}\n")

    return limit


def test_a_container_leaves_its_limit_less_what_is_used_and_cannot_be_given_back(container):
    container(1000, used=700, cache=200)
    assert free_memory() == 500


@pytest.mark.parametrize("maximum", ["max", 1 << 60])
def test_without_a_limit_it_is_the_machines(container, maximum):
    container(maximum, used=700, cache=200)
    assert 1 << 20 < free_memory() < 1 << 50


def test_without_a_container_it_is_the_machines(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_CGROUP", tmp_path / "none")
    assert free_memory() > 1 << 20
