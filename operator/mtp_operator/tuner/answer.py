"""One line of the protocol of `mtp tuner-step`: a JSON document with settings and arms in, a JSON document out."""

import json

from pydantic import ValidationError

from mtp_operator.measures.quantities import Record

from .step import next_step
from .tuner_records import Arm, Measure, Settings, describe_error


class Question(Record):
    """What one line asks."""

    settings: Settings
    arms: tuple[Arm, ...]


def answer(line: str) -> tuple[str, bool]:
    """The answer to one line, and whether it is one: `{"measure": …}` or `{"verdict": …}`, else `{"error": …}`."""
    try:
        question = Question.model_validate_json(line)
        step = next_step(question.arms, question.settings)
    except ValidationError as error:
        return json.dumps({"error": describe_error(error)}), False
    except ValueError as error:
        return json.dumps({"error": str(error)}), False
    kind = "measure" if isinstance(step, Measure) else "verdict"
    return json.dumps({kind: step.model_dump(mode="json", by_alias=True)}), True
