"""The linter of compiled pipelines: a rule for each known trap that a pipeline's IR shows."""
