"""The command line: Spineline's face."""
