"""nnU-Net's plans and preprocessed cases, once for a data set and a recipe."""
