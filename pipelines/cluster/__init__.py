"""Kubeflow Pipelines on a cluster: reached, asked beforehand, given runs, and followed to their end."""
