"""The world: what the ports of the floors below are connected to."""
