"""Scores of a predicted label map against a reference: one module a family, exact definitions in each."""
