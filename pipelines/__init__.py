"""Pipelines: one definition each, run on this machine and compiled for a cluster; and the command line."""
