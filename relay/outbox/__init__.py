"""From an accepted score to a final event, exactly once."""
