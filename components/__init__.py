"""One folder a step of the platform; steps don't import one another."""
