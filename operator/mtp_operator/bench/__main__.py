"""`python -m mtp_operator.bench PLAN FILE`: one trial, on a machine without kubelet.

PLAN is a TrialPlan as JSON; the result goes to FILE, as a container's termination message has it.
"""

import sys
from pathlib import Path

from mtp_operator.api.trial_documents import TrialPlan

from .trial_program import main

if __name__ == "__main__":
    sys.exit(main(TrialPlan.model_validate_json(sys.argv[1]), Path(sys.argv[2])))
