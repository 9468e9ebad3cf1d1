"""What runs inside a sandbox: verifies the grant again and drives the real tool; it must import next to nothing."""
