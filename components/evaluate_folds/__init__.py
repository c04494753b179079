"""A candidate's scores: each fold on its own validation cases, and the ensemble on the locked test set."""
