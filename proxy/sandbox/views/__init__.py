"""The operations themselves: one module a resource, each a few functions from a call to a reply."""
