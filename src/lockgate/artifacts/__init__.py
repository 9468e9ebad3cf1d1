"""Content-addressed, encrypted storage of plans and inputs; it must not know what the bytes mean."""
