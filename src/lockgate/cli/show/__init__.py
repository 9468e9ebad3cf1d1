"""How operations, plans and timelines look to a person; it must not ask the gateway for anything."""
