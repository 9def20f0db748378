"""What holds for every engine."""

import pytest

from mtp_operator.api.spec import EngineType
from mtp_operator.engines import LOG_FOLDER, engine_for


@pytest.mark.parametrize("engine_type", EngineType)
def test_every_type_has_its_engine(engine_type: EngineType) -> None:
    engine = engine_for(engine_type)

    assert engine.type is engine_type
    assert engine.port >= 1024
    assert engine.log_path.startswith(LOG_FOLDER)
