"""Votes of humans on exactly what was shown to them."""
