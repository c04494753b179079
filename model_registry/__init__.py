"""The life of a model version: gate, bundle, ledger, promotion and rollback."""
