"""`python -m proxy` is `avala-proxy`."""

from proxy.cli import main

main(prog_name="avala-proxy")
