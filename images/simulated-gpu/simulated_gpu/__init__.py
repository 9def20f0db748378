"""A GPU and an engine that are not there: vLLM's HTTP API, at the speed and the acceptance of a recorded curve.

It is started with the arguments of `vllm serve` and answers as vLLM does, as far as a client that measures can tell.
How fast, and how many drafted tokens are accepted, is read from a CSV of recorded measurements. What is measured with
it says nothing about any GPU; it says whether whoever measures finds what is known to be there. For that reason every
scrape of its metrics holds `simulated_gpu_info`, its version begins with `simulated-gpu`, and its image has a label.

It needs aiohttp and nothing else.

* `command`: what the arguments and the environment say;
* `curve`: the recorded figures, and what lies between them;
* `gpu`: who gets how many tokens when, and the counters of it;
* `language`: tokens, text, and the target model, which knows one next token for each;
* `forms`: answers that a JSON schema asks for;
* `faults`: what can be ordered to go wrong;
* `completions`, `metrics`: what a completion is answered with, and what a scrape;
* `server`: HTTP.
"""
