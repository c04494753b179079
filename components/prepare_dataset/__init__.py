"""Raw scans in, one canonical, checked and split data set out."""
