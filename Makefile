# Everything a developer runs. Each target brings about what it needs; what is built once is kept in the cache folder
# (MTP_OPERATOR_CACHE, default ~/.cache/mtp-operator).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
ENGINE ?= simulated
DEMO_IMAGE = $(if $(filter simulated,$(ENGINE)),simulated-gpu,$(ENGINE)-cpu)

.PHONY: help
help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: .venv/.complete  ## Make .venv with the mtp command and everything that developing needs.

.venv/.complete: requirements-dev.txt operator/requirements.txt operator/pyproject.toml
	@echo "== setting up .venv (about a minute)"
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq; apt-get install -qq -y python3-venv; }
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e operator
	@touch $@

.PHONY: check
check: setup  ## Formatter, linter, types, import contracts, spelling, words, generated files: seconds.
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/codespell docs zensical.toml *.md charts/*/README.md charts/*/values.yaml images/*/README.md \
		tests/docs/golden/messages.txt
	.venv/bin/pytest --quiet --no-header tests/docs/test_words.py tests/docs/test_messages.py
	$(PYTHON) -m mtp_operator.api.crd --check
	$(PYTHON) -m mtp_operator.cli.kubectl.schema_command --check
	$(PYTHON) docs/scripts/three_systems.py --check
	$(PYTHON) docs/scripts/chart_values.py --check
	$(PYTHON) docs/scripts/cli_reference.py --check
	$(PYTHON) docs/scripts/trial_result.py --check
	$(PYTHON) docs/scripts/argocd_health.py --check

.PHONY: format
format: setup  ## Format the code and fix what the linter can.
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

.PHONY: generate
generate: setup  ## Regenerate what follows from the code: CRDs, references, result schema, rendered samples, tables, reports.
	$(PYTHON) -m mtp_operator.api.crd
	$(PYTHON) -m mtp_operator.cli.kubectl.schema_command
	$(PYTHON) docs/scripts/three_systems.py
	$(PYTHON) docs/scripts/chart_values.py
	$(PYTHON) docs/scripts/cli_reference.py
	$(PYTHON) docs/scripts/trial_result.py
	$(PYTHON) docs/scripts/argocd_health.py
	$(PYTHON) -m release.manifests
	$(PYTHON) -m tests.unit.cli.golden
	$(PYTHON) -m tests.unit.cli.tables
	$(PYTHON) -m tests.unit.kubectl.golden
	$(PYTHON) -m tests.unit.report.golden
	$(PYTHON) -m tests.docs.messages

.PHONY: lock
lock: setup  ## Update the locked requirements.
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		operator/pyproject.toml -o operator/requirements.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		requirements-dev.in -o requirements-dev.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		docs/requirements.in -o docs/requirements.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		--constraint operator/requirements.txt images/simulated-gpu/requirements.in -o images/simulated-gpu/requirements.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		tests/manifests/checkov/requirements.in -o tests/manifests/checkov/requirements.txt
	.venv/bin/uv pip compile --quiet --upgrade --generate-hashes --no-header --no-emit-index-url --python-version 3.11 \
		release/sbom.in -o release/sbom.txt

.PHONY: unit
unit: setup  ## The tests without a cluster.
	.venv/bin/pytest --numprocesses=auto tests/unit

.PHONY: chaos
chaos: setup  ## A model's whole life, with a fault at every write: killed, refused, frozen, late, without the Lease; no cluster.
	.venv/bin/pytest --numprocesses=auto tests/chaos

.PHONY: test
test: check  ## Everything that CI runs: checks, unit tests, and the real cluster with both real engines.
	$(PYTHON) -m tests.cluster down
	$(PYTHON) -m tests.cluster prepare operator llamacpp-cpu vllm-cpu simulated-gpu faulty-engine faulty-simulated-gpu
	$(PYTHON) -m tests.cluster up
	$(PYTHON) -m tests.cluster.images load operator llamacpp-cpu vllm-cpu simulated-gpu faulty-engine faulty-simulated-gpu
	status=0; $(PYTHON) -m tests || status=$$?; $(PYTHON) -m tests.cluster down >/dev/null 2>&1; exit $$status

.PHONY: docs
docs: setup  ## Build the site of docs/ into site/, and look for broken links.
	$(PYTHON) -m tests.docs

.PHONY: lint-manifests
lint-manifests: setup  ## What checkov and kube-score say of the chart and the samples' objects: docs/reference/linters.md explains it all.
	$(PYTHON) -m tests.manifests

.PHONY: lint-report
lint-report: setup  ## What Chromium and axe-core say of reports at 360 and 1,600 pixels; pictures in .pages (Node, npm, Chromium).
	$(PYTHON) -m tests.pages $(wildcard .try/evidence/run.yaml)

.PHONY: bench
bench: setup cluster-up  ## The benchmarks: they print figures and assert none.
	$(PYTHON) -m tests.cluster.images load operator llamacpp-cpu vllm-cpu
	$(PYTHON) -m tests.perf.footprint
	$(PYTHON) -m tests.perf.operator_scale $(if $(BENCH_AGAINST),--against $(BENCH_AGAINST)) \
		$(if $(BENCH_CHART),--chart $(BENCH_CHART))
	$(PYTHON) -m tests.perf.bench_client
	$(PYTHON) -m tests.perf.bench_agreement $(if $(BENCH_VLLM),--vllm $(BENCH_VLLM)) \
		$(if $(BENCH_LLAMA_SERVER),--llama-server $(BENCH_LLAMA_SERVER))
	$(PYTHON) -m tests.perf.false_alarms

.PHONY: cluster-up
cluster-up: setup  ## Start a real cluster on this machine, with simulated GPUs (root, Linux).
	$(PYTHON) -m tests.cluster up

.PHONY: cluster-down
cluster-down: setup  ## End it and leave nothing behind.
	$(PYTHON) -m tests.cluster down

.PHONY: kubeconfig
kubeconfig: .venv/.complete  ## Print the path of its kubeconfig.
	@$(PYTHON) -m tests.cluster kubeconfig

.PHONY: try
try: setup  ## Tune on this machine, no cluster, no root, two minutes (ENGINE=simulated, without a GPU, or llamacpp).
	@rm -rf .try && mkdir -p .try/model
	$(MAKE) --no-print-directory try-$(ENGINE)

.PHONY: try-simulated
try-simulated:
	@echo '{"model_type": "gemma4", "quantization_config": {"quant_method": "fp8"}}' > .try/model/config.json
	@echo "== simulated: no GPU is used; the engine has the speed of a recorded curve"
	PYTHONPATH=images/simulated-gpu SIMULATED_GPU_CURVES=docs/data \
		.venv/bin/mtp tune docs/samples/demo-simulated.yaml --model-path .try/model --to .try/evidence \
		--engine-command '$(PYTHON) -m simulated_gpu serve'

.PHONY: try-llamacpp
try-llamacpp:
	@echo "== a real llama-server on this processor, with a small model of our own: some processors gain nothing by speculation"
	read -r program model <<<"$$($(PYTHON) -m tests.llama_server)" && \
		.venv/bin/mtp tune docs/samples/demo-llamacpp.yaml --model-path "$$model" --to .try/evidence \
		--engine-command "$$program" --level-seconds 4 || test $$? = 3  # exit status 3: nothing was proven

.PHONY: demo
demo: setup  ## From nothing to a tuned model (ENGINE=simulated, llamacpp or vllm); CONTEXT=… takes a cluster that is there.
ifdef CONTEXT
	$(PYTHON) -m tests.e2e.demo_there $(CONTEXT)
else
	$(PYTHON) -m tests.cluster prepare operator $(DEMO_IMAGE)
	$(PYTHON) -m tests.cluster up
	$(PYTHON) -m tests.cluster.images load operator $(DEMO_IMAGE)
	$(PYTHON) -m tests.e2e.demo $(ENGINE)
endif

.PHONY: demo-down
demo-down: cluster-down  ## End what `make demo` left running.

.PHONY: release-dry-run
release-dry-run: setup  ## Build everything that a release publishes into dist/, and check it; nothing is sent.
	$(PYTHON) -m release
