"""Commands and process wiring, the only place that sees every zone; it must not hold logic of a zone."""
