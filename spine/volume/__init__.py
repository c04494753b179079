"""Volumes: reading and writing NIfTI, grids, and exact arithmetic on label maps."""
