"""Folds of one plan, trained with nnU-Net under a recipe."""
