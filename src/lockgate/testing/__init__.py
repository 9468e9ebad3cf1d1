"""Contract suites for the ports, for Lockgate's own providers and for third parties; no zone may import it."""
