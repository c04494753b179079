"""The packages of this process's environment, pinned: what a model was made with."""

from importlib import metadata


def pins() -> list[str]:
    """Return ``name==version`` of every installed package, by name."""
    # Of two of one name the first is what is imported.
    installed = reversed(list(metadata.distributions()))
    found = {str(item.metadata["Name"]): item.version for item in installed if item.metadata["Name"]}
    return [f"{name}=={version}" for name, version in sorted(found.items(), key=lambda item: item[0].lower())]
