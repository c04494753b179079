"""A candidate that passed, as a version: its bundle, its run in MLflow, its first event in the ledger."""
