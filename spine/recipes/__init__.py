"""The recipes that come with Spineline, as YAML."""
