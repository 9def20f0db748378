"""Python logging of an engine: what it logs goes to its output and to the file that the bench reads."""

from __future__ import annotations

import json
import logging
import logging.config
from pathlib import Path

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import CONFIGURATION_FOLDER, LOG_FOLDER, engine_for


@pytest.mark.parametrize(
    ("type_", "variable", "module"),
    [
        (EngineType.VLLM, "VLLM_LOGGING_CONFIG_PATH", "vllm.v1.engine"),
        (EngineType.SGLANG, "SGLANG_LOGGING_CONFIG_PATH", "sglang.srt.managers.scheduler"),
    ],
)
def test_logs_to_its_output_and_to_the_shared_file(
    type_: EngineType, variable: str, module: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = engine_for(type_)
    (name,) = engine.configuration_files()
    assert engine.environment()[variable] == f"{CONFIGURATION_FOLDER}/{name}"
    content = engine.configuration_files()[name].replace(LOG_FOLDER, str(tmp_path))

    logging.config.dictConfig(json.loads(content))
    logging.getLogger(module).error("the cause")
    root = logging.getLogger(module.partition(".")[0])
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()

    written = (tmp_path / Path(engine.log_path).name).read_text()
    assert written.startswith("ERROR ")
    assert written.endswith("the cause\n")
    assert capfd.readouterr().out == written
