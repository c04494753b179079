"""The pins of an environment: what is installed here, each once."""

from importlib import metadata

from spine.environment import pins


def test_every_installed_package_is_pinned_once_in_order() -> None:
    found = dict(pin.split("==") for pin in pins())
    assert found["numpy"] == metadata.version("numpy")
    assert found["nnunetv2"] == metadata.version("nnunetv2")
    assert len(found) == len(pins())
    assert list(found) == sorted(found, key=str.lower)
