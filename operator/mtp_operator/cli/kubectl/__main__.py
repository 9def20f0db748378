"""`python -m mtp_operator.cli.kubectl` is `kubectl mtp`."""

from .kubectl_command import app

app(prog_name="kubectl mtp")
