"""Lockgate: the least-privilege gateway between AI agents and infrastructure."""

__version__ = "0.1.0"
