"""The ground floor: labels, geometry, records, settings and storage that every other room stands on."""
