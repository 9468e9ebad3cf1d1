"""`lockgate demo`: the main job end to end on a throw-away deployment, told as it happens. Nothing in it is faked."""
