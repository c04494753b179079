"""The verdict on a candidate, from its scores and those of the model in use."""
