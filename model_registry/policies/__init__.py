"""The policies that come with Spineline, as YAML."""
