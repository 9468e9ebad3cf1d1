"""Who calls: tokens to principals, strictly; it must not decide what a principal may do."""
