"""The server: segments scans with the version in use, and follows the ledger to the next one without a pause."""
