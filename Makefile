# Two commands do all the set-up on a fresh machine: `make tune` and `make test`.
# Build products live outside the checkout, so a second clone builds warm.

CACHE     ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/moat
TARGET    := $(CACHE)/target
CARGO     := CARGO_TARGET_DIR='$(TARGET)' cargo
MOAT      := $(TARGET)/debug/moat
WORKLOAD  ?= datasets/workloads/matmul_1024_f32.py
PYTHON    := $(TARGET)/venv/bin/python

.PHONY: tune test build lint bench peers setup

tune: build
	$(MOAT) tune $(WORKLOAD)

test: setup $(TARGET)/venv/ready
	$(CARGO) test --workspace --quiet

build: setup
	$(CARGO) build --workspace

lint: setup
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

bench: build
	$(CARGO) bench --workspace

# Times NumPy and our kernels for every workload; see datasets/README.md.
peers: build $(TARGET)/venv/ready
	$(PYTHON) datasets/peers.py --moat kernels

setup:
	@bash tests/setup.sh system

# NumPy is the oracle's oracle: some tests compare with it, in an environment of their own.
$(TARGET)/venv/ready: tests/setup.sh tests/requirements.txt
	@bash tests/setup.sh python '$(TARGET)/venv'
