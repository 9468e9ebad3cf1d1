"""Isolated places for one stage each: made, watched, destroyed and proven gone; they must not know what runs inside."""
