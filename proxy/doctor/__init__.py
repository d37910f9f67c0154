"""What can be wrong before and while one runs the proxy, and what to do about it.

Each module has the checks of one kind; `examination.py` has their order. They judge what `serve` would do
with the same settings, so they use its own parts. Nothing here changes anything, and nothing of the API's
budget is spent but by `spend.py`, when asked to.
"""
