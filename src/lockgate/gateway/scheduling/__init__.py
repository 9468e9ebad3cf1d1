"""Queue, leases and their end: who may work on what now."""
