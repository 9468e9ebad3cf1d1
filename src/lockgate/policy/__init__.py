"""The policy engine's port and its engines; it must not answer anything but deny when in doubt."""
