"""What every other package stands on: the framework, errors, files."""
