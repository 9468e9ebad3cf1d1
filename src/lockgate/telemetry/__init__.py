"""Logs, metrics and traces of every zone; it must not see a secret."""
