"""The lowest layer: labels, geometry, records, settings and storage, which all other packages use."""
