# `make` lists the targets. The first one that needs it makes .venv: requirements/setup_venv.py says how.
# STACK=1.16|1.21 and PYTHON=/path/to/python choose by hand.

BIN := .venv/bin
FAST := -m "not slow and not real_data and not services and not kubeflow"
PACKAGES := $(wildcard schemas components pipeline kubeflow tests benchmarks requirements) setup.py mirante_command.py
# The tests to run, as pytest takes them: T=tests/trainer/test_fit.py, or with -k name. All when not given.
T ?=
ONE_FILE := $(and $(findstring .py,$(T)),$(filter 1,$(words $(filter tests/%,$(T)))))
# Test processes, each with a TensorFlow of its own: some 2 GiB. None besides pytest's own for one file.
PYTEST_JOBS ?= $(if $(ONE_FILE),0,$(shell n=$$(nproc); echo $$((n < 4 ? n : 4))))
PYTEST := $(BIN)/pytest -n $(PYTEST_JOBS) --dist loadfile --no-loadscope-reorder
# Where the tests marked real_data find the image sets.
MIRANTE_TEST_DATA ?= $(abspath ../shared/data)
# The contract of TF Serving: its folder, and how the server was started (tests/serving_contract/setups.py).
CONTRACT ?= runs/serving-contract
SETUP ?= main
# Recipes with an acceptance run, see benchmarks/accept.py.
ACCEPTANCES := digits mnist cats-vs-dogs cifar10 cifar10-finetuned butterflies asirra-detection
# uv: which packages `make lock` may move, e.g. UPGRADE="--upgrade" or UPGRADE="--upgrade-package rich".
UPGRADE ?=
# The container image: cpu or gpu, and its name. BASE=, DOCKER=podman and DOCKER_FLAGS=--network=host are for other places.
VARIANT ?= cpu
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
IMAGE ?= mirante:$(VERSION)$(if $(filter gpu,$(VARIANT)),-gpu)
DOCKER ?= docker
PRISM ?= $(BIN)/prism
# What `make bench` compares with; its packages are nowhere else.
PEERS ?= .bench-peers
# The venv's own first: it starts quicker than a pyenv shim.
BOOT_PYTHON := $(firstword $(foreach name,$(BIN)/python python3 python3.13 python3.12 python3.11 python3.10,$(shell command -v $(name))))

.DEFAULT_GOAL := help
.PHONY: help setup conformance conformance-models demo test test-slow test-services test-kubeflow test-pods test-real-data fuzz docs golden lint check format lock image \
	accept $(ACCEPTANCES:%=accept-%) accept-layouts accept-resume accept-kill-training accept-kubeflow accept-kubeflow-faults accept-engines engines bench bench-peers bench-training bench-backbones bench-detector \
	bench-node-start bench-unchanged bench-plain-tfx bench-guard bench-evaluator bench-serving bench-uneven bench-copies clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

setup: ## Make or update .venv (every target that needs it does this first)
	@test -n "$(BOOT_PYTHON)" || { echo "mirante: no Python 3 on PATH. On Debian and Ubuntu:" \
		"apt-get install python3-dev python3-venv g++ make" >&2; exit 1; }
	@"$(BOOT_PYTHON)" requirements/setup_venv.py --stack "$(STACK)" --python "$(PYTHON)"

demo: setup ## Train, check and push a digits model: no network, account or GPU
	$(BIN)/mirante run digits

test: setup ## Fast tests: no network, account or GPU; T=tests/trainer/test_fit.py for one file, here and below
	$(PYTEST) $(FAST) $(T)

test-slow: setup ## Tests that train a model or run a whole pipeline
	$(PYTEST) -m "slow and not real_data and not services" $(T)

test-services: setup ## Tests that start MariaDB, PostgreSQL (Debian: mariadb-server, postgresql), object stores
	$(PYTEST) -m services $(T)

test-kubeflow: setup ## Tests that start Kubeflow Pipelines' own API server, from the folder MIRANTE_KFP_CLUSTER
	$(PYTEST) -n 0 -m kubeflow $(or $(T),tests/targets/test_kubeflow_server.py)

test-pods: setup ## Runs as real pods of the image IMAGE, on a cluster of one node started here; root
	MIRANTE_POD_IMAGE=$(IMAGE) $(PYTEST) -n 0 -m kubeflow $(or $(T),tests/targets/test_kubeflow_pods.py)

test-real-data: setup ## Tests on the image sets in MIRANTE_TEST_DATA; a skip is a failure
	MIRANTE_TEST_DATA="$(MIRANTE_TEST_DATA)" MIRANTE_REQUIRE_REAL_DATA=1 $(PYTEST) --dist load -m real_data $(T)

conformance: setup ## TF Serving's contract against any server: SERVER=host:port [REST=host:port] [SETUP=main] [CONTRACT=folder]
	$(BIN)/python -m tests.serving_contract run "$(CONTRACT)" --server "$(SERVER)" --rest "$(REST)" --setup "$(SETUP)"

conformance-models: setup ## Its models and configurations, in the folder CONTRACT; SEEN=path if the server sees it elsewhere
	$(BIN)/python -m tests.serving_contract write "$(CONTRACT)" --seen "$(SEEN)"

fuzz: setup ## Readers on tens of thousands of damaged inputs each; FUZZ="csv zip --inputs 5000 --seed 3" for some
	$(BIN)/python -m tests.fuzz $(FUZZ)

docs: setup ## Write docs/recipe.md and the tables of networks and of sources from the code
	$(BIN)/python -m pipeline.recipe.reference
	$(BIN)/python -m pipeline.recipe.networks_reference
	$(BIN)/python -m components.ingest.reference

golden: setup ## Write the compiled packages in tests/golden anew; read their difference
	MIRANTE_WRITE_GOLDEN=1 $(BIN)/pytest -q tests/targets/test_kubeflow_compile.py tests/targets/test_vertex_compile.py \
		tests/trainer/test_worker_pods.py -k golden

lint: setup ## Format, lint, types and imports, and that no modules import each other in circles
	$(BIN)/ruff format --check $(PACKAGES)
	$(BIN)/ruff check $(PACKAGES)
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 0 tests/house/test_layout.py -k circles

check: lint test ## What has to pass before a change goes in: lint and the fast tests

format: setup ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix-only $(PACKAGES)
	$(BIN)/ruff format $(PACKAGES)

lock: $(BIN)/uv ## Write the lock files anew from pyproject.toml and requirements/*.in
	$(call compile,requirements/bootstrap.in,3.10,bootstrap)
	$(call compile,pyproject.toml --extra dev requirements/tfx-1.16.in --excludes requirements/tfx-1.16-without.in,3.10,tfx-1.16)
	$(call compile,pyproject.toml --extra dev requirements/tfx-1.21.in,3.11,tfx-1.21)
	$(call compile_image,requirements/image-cpu.in --excludes requirements/image-cpu-without.in,image-cpu)
	$(call compile_image,requirements/image-gpu.in,image-gpu)

LOCK := $(BIN)/uv pip compile --generate-hashes --quiet --custom-compile-command "make lock"
# Sources, oldest Python, name of the lock file.
compile = $(LOCK) $(1) --universal --python-version $(2) $(UPGRADE) --output-file requirements/$(3).txt
# Sources beyond pyproject.toml, name of the lock file. For Debian 13 alone, in the versions that its stack is tested with.
compile_image = $(LOCK) pyproject.toml --extra dicom --extra heic --extra kubeflow --extra mlflow --extra tfds --extra wandb $(1) \
	--excludes requirements/image-without.in --constraints requirements/tfx-1.21.txt \
	--python-platform x86_64-manylinux_2_39 --python-version 3.13 $(UPGRADE) --output-file requirements/$(2).txt

# Proxies go in as they are here, certificates and the installers' settings as secrets: none of it stays in the image.
image: ## Build the container image; VARIANT=gpu for NVIDIA GPUs, IMAGE=name:tag
	DOCKER_BUILDKIT=1 $(DOCKER) build --file kubeflow/Dockerfile --tag $(IMAGE) \
		--build-arg VARIANT=$(VARIANT) --build-arg VERSION=$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) \
		--build-arg REVISION=$(or $(REVISION),$(shell git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null),unknown) \
		$(foreach name,http https no,--build-arg $(name)_proxy --build-arg $(shell echo $(name) | tr a-z A-Z)_PROXY) \
		$(if $(SSL_CERT_FILE),--secret id=certificates$(comma)src=$(SSL_CERT_FILE)) \
		$(if $(PIP_CONFIG_FILE),--secret id=pip.conf$(comma)src=$(PIP_CONFIG_FILE)) \
		$(if $(UV_CONFIG_FILE),--secret id=uv.toml$(comma)src=$(UV_CONFIG_FILE)) $(DOCKER_FLAGS) .

comma := ,

$(BIN)/uv:
	@"$(BOOT_PYTHON)" requirements/setup_venv.py --stack "$(STACK)" --python "$(PYTHON)" --only-bootstrap

accept: $(ACCEPTANCES:%=accept-%) accept-layouts accept-resume accept-kill-training ## Every acceptance run; or one, such as accept-mnist

$(ACCEPTANCES:%=accept-%): accept-%: setup
	$(BIN)/python benchmarks/accept.py $*

accept-layouts: setup  # LAYOUTS="COCO 'Pascal VOC'" for some
	PYTHONPATH=. $(BIN)/python benchmarks/accept_layouts.py $(LAYOUTS)

accept-resume: setup
	$(BIN)/python benchmarks/resume.py --each-node --setbacks

accept-kubeflow: setup  # as root, with the image IMAGE in Docker; PARTS="workers spans" for some
	$(BIN)/python benchmarks/accept_kubeflow.py --image $(IMAGE) $(PARTS)

accept-kubeflow-faults: setup  # the same; FAULTS="delete-pods full-claim" for some
	$(BIN)/python benchmarks/kubeflow_faults.py --image $(IMAGE) $(FAULTS)

# Needs Go, Java and Maven (Debian: golang-go of Debian 13, default-jre-headless, maven); 200 MB of jars the first time.
# One epoch, since Beam has no part in the training.
accept-engines: setup  # MNIST and a detector, whole, in memory, on Prism and on Spark in the folder SPARK; runs are killed KILLS times
	$(MAKE) engines SPARK=$(or $(SPARK),runs/spark) ENGINES="mnist --data $(MIRANTE_TEST_DATA)/mnist --set training.epochs=1"
	$(MAKE) engines SPARK=$(or $(SPARK),runs/spark) ENGINES="asirra_detection --data $(MIRANTE_TEST_DATA)/asirra_detection --set \
		training.fine_tune_epochs=0 --set model.weights=$(MIRANTE_TEST_DATA)/weights/mobilenet_v2_1.0_224_dequantized_no_top.h5"
	$(MAKE) engines SPARK=$(or $(SPARK),runs/spark) ENGINES="--processes --kills $(or $(KILLS),10) --set training.epochs=3"

accept-kill-training: setup
	$(BIN)/python benchmarks/kill_training.py

# Prism needs Go; Spark needs Java and Maven, and is tried where SPARK names a folder for its jars.
engines: setup ## The digits recipe on Beam's engines: results equal to those in memory; SPARK=folder for Spark too
	test -x $(PRISM) || GOBIN=$(abspath $(dir $(PRISM))) go install github.com/apache/beam/sdks/v2/go/cmd/prism@v2.73.0
	$(BIN)/python -m benchmarks.engines --prism $(PRISM) $(if $(SPARK),--spark $(SPARK)) $(or $(ENGINES),--set training.epochs=3 \
		--set 'evaluation.thresholds={accuracy: 0.5}')

bench: setup bench-peers ## All benchmarks in one table; QUICK=1 ends after 10 minutes, PARTS="ingest evaluator" for some
	MIRANTE_BENCH_PEERS=$(abspath $(PEERS)) $(BIN)/python -m benchmarks.bench $(PARTS) $(if $(QUICK),--quick) $(if $(INTO),--into $(INTO))

bench-peers: setup ## What `make bench` compares with, from PyPI, in an environment of its own
	@# Again each time: it mends one that was interrupted.
	@$(BIN)/python -m venv $(PEERS)
	@# TensorFlow is that of .venv, and its NumPy and protobuf hold; other packages come first from here.
	@$(BIN)/python -c "import site; print(site.getsitepackages()[0])" > "$$($(PEERS)/bin/python -c 'import site; print(site.getsitepackages()[0])')/zz-mirante.pth"
	@$(PEERS)/bin/python -m pip install -q --disable-pip-version-check \
		$$($(BIN)/python -c "from importlib.metadata import version as v; print(*(f'{n}=={v(n)}' for n in ('numpy', 'protobuf')))") \
		webdataset grain tensorflow_datasets img2dataset "setuptools<81" \
		|| echo "bench-peers: pip failed; the rows of what is missing say so" >&2

bench-training: setup ## Training: input, plain Keras, eager, 16 bits, kernels
	$(BIN)/python -m benchmarks.training
	$(BIN)/python benchmarks/cpu_kernels.py

bench-backbones: setup ## Images/s of each network of keras.applications, on two cores
	$(BIN)/python -m benchmarks.backbones

bench-guard: setup ## Many trainings: the guard stops all sick ones and no healthy one
	$(BIN)/python benchmarks/guard.py

bench-detector: setup ## Milliseconds of one photo by a pushed detector, and of its parts
	$(BIN)/python benchmarks/detector.py

bench-node-start: setup ## How soon a Kubeflow task is at work, against importing TFX
	$(BIN)/python -m benchmarks.node_start

bench-unchanged: setup ## A second, unchanged run of digits, against importing TensorFlow
	$(BIN)/python -m benchmarks.unchanged

bench-plain-tfx: setup ## Mirante against TFX's plain arrangement: wall times of MNIST and of photos
	$(BIN)/python -m benchmarks.plain_tfx mnist
	$(BIN)/python -m benchmarks.plain_tfx cats_vs_dogs --epochs 2  # the plain side takes minutes an epoch

bench-copies: setup ## Which copies of photos an ingest finds, and what it joins by mistake
	$(BIN)/python benchmarks/copies.py

bench-uneven: setup ## Classes of different size: plain, class weights, balanced sampling
	$(BIN)/python benchmarks/uneven.py

bench-serving: setup ## mirante serve: latency, load, batching, switches, harmful clients: MODEL=folder of versions IMAGE=file
	$(BIN)/python -m benchmarks.serving $(MODEL) $(IMAGE) $(BENCH)

bench-evaluator: setup ## Evaluator with all metrics against TFX's own with one
	$(BIN)/python -m benchmarks.evaluator

clean: ## Remove .venv and caches; what was trained (runs/) stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
