"""The durable store behind one port; it must not decide anything."""
