"""The live page's content in a terminal: `avala-proxy top`.

It knows the proxy by what the admin listener says, and by nothing else, so that it can watch one of another
version on another machine. The only place where `rich` is imported.
"""
