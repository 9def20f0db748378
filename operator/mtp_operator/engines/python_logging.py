"""Python's logging, for engines that read its configuration from a file."""

import json


def logging_configuration(logger: str, path: str) -> str:
    """What an engine logs by itself, to its standard output and into a file, as the JSON of `dictConfig`.

    Args:
        logger: the engine's own.
        path: of the file.
    """
    handlers = ["output", "file"]
    return json.dumps(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "line": {
                    "format": "%(levelname)s %(asctime)s [%(name)s:%(lineno)d] %(message)s",
                    "datefmt": "%m-%d %H:%M:%S",
                }
            },
            "handlers": {
                "output": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stdout"},
                "file": {"class": "logging.FileHandler", "formatter": "line", "filename": path},
            },
            "loggers": {logger: {"level": "INFO", "handlers": handlers, "propagate": False}},
        }
    )
