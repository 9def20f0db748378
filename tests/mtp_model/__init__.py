"""A language model with a real MTP head whose acceptance at every draft position is known before it is served.

It has the architecture of Qwen3.5 and is made in seconds without training, torch or a download, in the form that vLLM
loads and in the form that llama.cpp loads. Engines take it for a model like any other; only its maker knows that

* the target, decoded greedily, walks one long cycle of words and never ends by itself;
* the MTP head predicts that walk rightly for exactly L(t) steps, where t is the last token that the target has seen,
  and is wrong at every step after that.

So P_i, the share of drafts whose i-th token is accepted, is the share of tokens with L >= i. It is the same for every
number of draft tokens n, and zero beyond the largest L: more drafts than that can only cost time. That, with layers
heavy enough that a step of the target costs more than a step of the head, gives speed an inner peak over n.

The modules, in the order of the construction:

* `vocabulary`: the tokens, and a tokenizer under which the generated text splits into the generated tokens again;
* `truth`: what the model will do, as plain data, decided first, and what follows from it (text, acceptance);
* `weights`: tensors that do just that;
* `huggingface`, `llamacpp`: the two forms on disk;
* `drafters`, `drafter_files`: drafters of other kinds for the same target, and their forms on disk;
* `folder`: all files of one model in one folder, whole or not at all.

`python -m tests.mtp_model OUT_DIR` writes one.
"""

from tests.mtp_model.folder import write_model
from tests.mtp_model.truth import Truth, expected_continuation, read_truth, simulate
from tests.mtp_model.weights import ModelShape

__all__ = ["ModelShape", "Truth", "expected_continuation", "read_truth", "simulate", "write_model"]
