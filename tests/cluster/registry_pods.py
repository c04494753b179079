"""The registry as people use it on a cluster: commands in the pods of the monitor and of the server."""

from dataclasses import dataclass
from typing import Any

from tests.cluster.commands import Answer, Kubectl
from tests.cluster.configuration import ACTOR

MONITOR, SERVER = "deployment/spineline-monitor", "deployment/spineline-serve"


@dataclass(frozen=True)
class RegistryPods:
    """Commands on versions."""

    kubectl: Kubectl

    def versions(self) -> list[dict[str, Any]]:
        """Return all versions."""
        found: list[dict[str, Any]] = self._ask("versions").require().json()
        return found

    def own_versions(self) -> list[int]:
        """Return the versions that the suite registered, in this or an earlier session."""
        return [one["version"] for one in self.versions() if one["registered_by"] == ACTOR]

    def served(self) -> int | None:
        """Return the version in use."""
        return next((int(one["version"]) for one in self.versions() if one["in_use"]), None)

    def history(self) -> list[dict[str, Any]]:
        """Return the events of the ledger."""
        found: list[dict[str, Any]] = self._ask("history").require().json()
        return found

    def status(self) -> dict[str, Any]:
        """Return what the ledger, MLflow and the servers report."""
        found: dict[str, Any] = self._ask("status").require(0, 1).json()
        return found

    def change(self, *arguments: str, actor: str) -> Answer:
        """Approve, promote, roll back or revoke as ``actor``."""
        command = ["env", f"SPINELINE_ACTOR={actor}", "spineline", *arguments, "--json"]
        return self.kubectl.execute(SERVER, *command, container="serve", timeout_s=300)

    def _ask(self, name: str) -> Answer:
        return self.kubectl.execute(MONITOR, "spineline", name, "--json")
