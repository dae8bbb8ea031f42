"""From a command line, a YAML or Python to checked points."""
