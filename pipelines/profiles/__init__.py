"""The profiles that come with Spineline, as YAML."""
