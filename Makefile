# Two commands do all the set-up on a fresh machine: `make tune` and `make test`. `make install` puts `moat` on the PATH.
# Build products live outside the checkout, so a second clone builds warm.

CACHE     ?= $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/moat
TARGET    := $(CACHE)/target
CARGO     := CARGO_TARGET_DIR='$(TARGET)' cargo
MOAT      := $(TARGET)/debug/moat
WORKLOAD  ?= datasets/workloads/matmul_1024_f32.py
PYTHON    := $(TARGET)/venv/bin/python
PREFIX    ?= $(HOME)/.local
BIN       := $(PREFIX)/bin

.PHONY: tune test build install lint bench peers polybench promise setup fuzz check-faults interrupt

tune: build
	$(MOAT) tune $(WORKLOAD)

test: setup $(TARGET)/venv/ready
	$(CARGO) test --workspace --quiet

build: setup
	$(CARGO) build --workspace

# Copies `moat` to where the shell finds it: into ~/.local/bin, or with PREFIX=/usr/local into /usr/local/bin.
install: build
	@mkdir -p '$(BIN)'
	@install -m 755 '$(MOAT)' '$(BIN)/moat'
	@echo 'moat: installed as $(BIN)/moat'
	@case ":$$PATH:" in \
	  *':$(BIN):'*) ;; \
	  *) echo 'moat: $(BIN) is not on PATH: add it, for example with  export PATH="$(BIN):$$PATH"' ;; \
	esac

lint: setup
	cargo fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

bench: build
	$(CARGO) bench --workspace

# Many random programs with loops under random schedules, checked by brute force: about half an hour on one core. Then as
# many generated programs against NumPy, from where the last run ended; remove the file of its state to begin anew.
PROGRAMS  ?= 10000
fuzz: setup $(TARGET)/venv/ready
	$(CARGO) run -p moat-tests --bin fuzz -- --programs $(PROGRAMS)
	$(CARGO) run -p moat-tests --bin fuzz_numpy -- --programs $(PROGRAMS) --state '$(CACHE)/fuzz_numpy.state'

# Plants faults, one after the other, and runs the test that notices each: some twenty minutes. FAULTS are parts of their names.
check-faults: setup $(TARGET)/venv/ready
	CARGO_TARGET_DIR='$(TARGET)' bash tests/faults/check.sh $(FAULTS)

# Interrupts and kills `moat tune` at random moments in every stage: some ten minutes.
interrupt: setup
	$(CARGO) build -p moat-tests --bins
	$(CARGO) run -p moat-tests --bin interrupt -- --runs 60

# Tunes every workload and times the kernels against the peers, interleaved in one process: the README's table.
peers: build $(TARGET)/peers/ready
	for file in datasets/workloads/*.py; do $(MOAT) tune $$file || exit 1; done
	$(TARGET)/peers/bin/python datasets/peers.py --moat kernels

# Tunes the PolyBench programs for one thread and for two, and times the kernels against clang-22 with and without Polly:
# datasets/polybench.md and polybench_threads.md.
polybench: build $(TARGET)/venv/ready
	@bash tests/setup.sh polybench
	for file in datasets/workloads/polybench/*.py; do $(MOAT) tune $$file || exit 1; done
	$(PYTHON) datasets/polybench.py --moat kernels --write datasets/polybench.md
	for file in datasets/workloads/polybench/*.py; do $(MOAT) tune --threads 2 --out kernels/threads $$file || exit 1; done
	$(PYTHON) datasets/polybench.py --moat kernels/threads --serial kernels --no-peers --threads 2 --passes 3 --write datasets/polybench_threads.md

# Asks the kernels tuned by `peers` and `polybench` for the times that their summaries promise, each in a process of its own.
promise: $(TARGET)/venv/ready
	$(PYTHON) datasets/promise.py --kernels kernels

setup:
	@bash tests/setup.sh system

# NumPy is the oracle's oracle: some tests compare with it, in an environment of their own.
$(TARGET)/venv/ready: tests/setup.sh tests/requirements.txt
	@bash tests/setup.sh python '$(TARGET)/venv' tests/requirements.txt

$(TARGET)/peers/ready: tests/setup.sh datasets/requirements-peers.txt
	@bash tests/setup.sh python '$(TARGET)/peers' datasets/requirements-peers.txt
