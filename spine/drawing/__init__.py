"""What reports draw with: slices through the spine, painted label maps, small figures, escaped HTML and its style."""
