"""Put the steps of every verb in order; the rooms below do the arithmetic."""
