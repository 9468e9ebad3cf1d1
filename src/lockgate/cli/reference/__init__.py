"""Writes docs/reference from the code that decides: commands, settings, formats, API, states, errors. It must not say anything of its own."""
