"""A data set's revision, from a DVC remote into the shared root."""
