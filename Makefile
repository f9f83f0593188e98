# Thin names for what CMake presets and the scripts in tools/ do. `make help` lists them.
PRESET ?= release
CMAKE_FLAGS ?=
FUZZ_SECONDS ?= 20

SOURCES = git ls-files --cached --others --exclude-standard -- '*.cpp' '*.h' '*.cu' '*.cuh'
JOBS := $(shell nproc)

.DEFAULT_GOAL := help
.PHONY: help deps configure build quickstart test bench bench-programs bench-peers bench-docs format format-check tidy lint fuzz sanitize-gpu model install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## install the Debian packages that are missing (sudo where needed)
	@tools/install-deps.sh

configure: deps
	cmake --preset $(PRESET) $(CMAKE_FLAGS)

build: configure ## the binary: build/release/bin/wick (another preset: PRESET=dev)
	cmake --build --preset $(PRESET) --target wick-bin

quickstart: ## the whole main job: build, fine-tune the bundled model, show the difference
	@tools/quickstart.sh

test: configure ## build everything and run all tests (PRESET=asan or tsan for sanitizers, DEVICE=cuda for a GPU)
	cmake --build --preset $(PRESET)
	$(if $(DEVICE),WICK_TEST_DEVICE=$(DEVICE)) ctest --preset $(PRESET) --parallel $(JOBS)

BENCH_FLAGS ?=
BENCHMARKS = $(patsubst bench/%.cpp,%,$(wildcard bench/*_bench.cpp))
bench-programs: override CMAKE_FLAGS += -DWICK_BUILD_BENCH=ON
bench-programs: configure
	@tools/install-deps.sh --bench
	cmake --build --preset $(PRESET) --target $(BENCHMARKS)

bench: bench-programs ## build and run the benchmarks; BENCH_FLAGS='--quick', '--only REGEX', '--compare bench/baseline.json'; DEVICE=cuda: a GPU's, beside PyTorch
	$(if $(DEVICE),tools/bench_gpu.py,tools/bench.py) --programs build/$(PRESET)/bin $(BENCH_FLAGS)

bench-peers: bench-programs ## the same cases in Wick, MLX and PyTorch (a venv in build/peers, 6 GB; BENCH_FLAGS='--quick', '--only REGEX')
	tools/bench_peers.py --programs build/$(PRESET)/bin --install $(BENCH_FLAGS)

bench-docs: bench-peers ## everything: peers, benchmarks, new numbers and charts in docs/, new bench/baseline.json
	tools/bench.py --programs build/$(PRESET)/bin --write-docs --save-baseline bench/baseline.json

format: ## clang-format all sources in place
	$(SOURCES) | xargs clang-format -i

format-check:
	$(SOURCES) | xargs clang-format --dry-run -Werror
	shellcheck .ci/run tools/*.sh

tidy:
	cmake --preset asan $(CMAKE_FLAGS) >/dev/null
	tools/tidy.py build/asan

lint: format-check tidy ## formatting, shell scripts, clang-tidy

fuzz: ## run every fuzz target for FUZZ_SECONDS (20)
	cmake --preset asan $(CMAKE_FLAGS)
	cmake --build --preset asan --target fuzz_targets
	tools/fuzz.sh build/asan $(FUZZ_SECONDS)

sanitize-gpu: configure ## the tests of ops and kernels on a GPU under compute-sanitizer (TOOLS='memcheck racecheck initcheck')
	cmake --build --preset $(PRESET) --target ops_tests cuda_tests
	tools/sanitize_gpu.sh build/$(PRESET) $(TOOLS)

model: build ## retrain the bundled base model from nothing
	tools/make_base_model.sh

install: build ## install under PREFIX (default /usr/local)
	cmake --install build/$(PRESET) $(if $(PREFIX),--prefix $(PREFIX))

clean: ## remove build/
	rm -rf build
