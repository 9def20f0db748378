"""`python -m mtp_operator.cli` is `mtp`."""

from .main import app

app(prog_name="mtp")
