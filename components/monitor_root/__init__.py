"""The monitor: tells Prometheus how trainings, verdicts and the ledger of a root stand, when no pod is left to ask."""
