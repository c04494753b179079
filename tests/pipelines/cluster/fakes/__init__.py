"""Servers that stand in for a cluster's: real HTTP, held to the models of the real clients."""
