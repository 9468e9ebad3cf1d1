"""The zone that verifies grants and makes and destroys sandboxes; it must not import gateway, job or policy."""
