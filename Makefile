# Spindle's commands; `make help` lists them. What a command does beyond one line is in Scripts/.

# What `make run` serves, and where.
IMAGE = images/drive.img
SIZE = 3G
ENDPOINT = tcp:127.0.0.1:10809
DEVICE = ide-hd,serial=918a6997-1928-38a1-9,write-cache=on
export IMAGE SIZE ENDPOINT DEVICE

# Where `make install` puts things; DESTDIR goes before it, for packages.
PREFIX ?= /usr/local

# Where `make bench` writes. README shows Benchmarks/results: a run becomes that when it is asked to, and
# then Scripts/figures puts its figures into the documents.
RESULTS ?= .build-bench

# What the build needs of Debian beside a Swift toolchain: liburing, GnuTLS, libseccomp, a linker and C headers, and what the toolchain
# itself loads.
BUILD_PACKAGES = liburing-dev libgnutls28-dev libseccomp-dev pkg-config gcc g++ binutils libc6-dev git ca-certificates \
    python3 libcurl4 libncurses6 libsqlite3-0 libxml2
# What `make deb` runs, and what looks at what it has made.
DEB_PACKAGES = dpkg-dev xz-utils lintian
FRESH_PACKAGES = debootstrap git
# What the tests run.
TEST_PACKAGES = $(shell sed 's/#.*//' Tests/packages.txt)
GUEST_PACKAGES = $(shell sed 's/#.*//' Tests/Guest/packages.txt)

SPINDLE = .build/release/spindle
# The runtime library of Swift goes into the program, which then runs where no toolchain is. Names that nobody looks up are left
# out, and addresses packed (DT_RELR, which the default linker, gold, does not know): 1.6 MB of 18. A request passes a dozen
# modules, and the compiler may inline across them.
RELEASE = -c release --static-swift-stdlib --product spindle -Xswiftc -cross-module-optimization \
    -Xswiftc -use-ld=bfd -Xlinker --no-export-dynamic -Xlinker -z -Xlinker pack-relative-relocs

.PHONY: build run test check guest-test fresh-test soak fuzz sanitize mutants sim lint bench bench-pipeline install uninstall deb \
    clean help packages build-packages guest-packages toolchain release-options

build: $(SPINDLE)

# In the recipe, so that 'sudo make install' after 'make' needs no toolchain in root's PATH.
$(SPINDLE): Makefile Package.swift $(shell find Sources -type f)
	@$(MAKE) --no-print-directory toolchain build-packages
	@[ -e $@ ] || echo "Building the release. The first time that takes some 2 minutes on two cores, and 120 MB in .build."
	swift build $(RELEASE)
	@touch $@

run: $(SPINDLE)
	@Scripts/run

test: toolchain packages
	@[ -d .build/debug ] || echo "Building the tests. The first time that takes some 3 minutes on two cores, and 350 MB in .build."
	Scripts/test

# What to run before each commit: the rules, and the tests of the rooms without I/O.
check: lint
	swift test --filter '^(NBD|SCSI|ISCSI|Blocks|ATA|SAT|Units|Export|Reports|TOML)Tests\.'

# A real Linux in QEMU: nbd-client, the drive behind QEMU's IDE, booting from it, units of systemd.
guest-test: $(SPINDLE) guest-packages
	Tests/Guest/run $(SPINDLE)

# A minimal Debian 12 with an ordinary user: the commands of the README, and the package that `make deb` makes.
fresh-test:
	@Scripts/install-packages $(FRESH_PACKAGES)
	Tests/Fresh/run $(STEPS)

# What takes too long for every change: 1 GiB through every cache mode, minutes of verified random I/O.
soak: $(SPINDLE) packages
	Tests/Interop/soak.sh $(SPINDLE)

# Inputs that nobody thought of, for what reads bytes of others.
fuzz: toolchain packages
	Scripts/fuzz

# Threads and memory, by the sanitizers of the toolchain: SANITIZERS=thread is one of them.
sanitize: toolchain packages
	Scripts/sanitize $(SANITIZERS)

# Mistakes planted in a copy: do the tests notice?
mutants: toolchain packages
	Scripts/mutants

# A whole server, its clients and its kernel in one thread: SEEDS of them, from SEED on where that is said.
sim: toolchain packages
	SIMULATION_SEEDS="$(or $(SEEDS),1)" SIMULATION_SEED="$(SEED)" swift test --filter '^Simulation\.'

lint: toolchain packages
	swift format lint --strict -r Sources Tests Package.swift Benchmarks/Package.swift Benchmarks/Benchmarks \
	    Fuzzing/Package.swift Fuzzing/Sources
	Scripts/check-rules
	Scripts/figures --check
	Scripts/mutants --list >/dev/null
	swift build -q --build-tests --explicit-target-dependency-import-check error

bench: $(SPINDLE) packages
	Benchmarks/EndToEnd/run.py --results "$(RESULTS)"

# The pipeline alone, compiled as the release is, against the thresholds in Benchmarks/Thresholds. Status 4 says that it is better than they are.
bench-pipeline: toolchain build-packages
	cd Benchmarks && { swift package --disable-sandbox -Xswiftc -cross-module-optimization \
	    benchmark thresholds check --no-progress || [ $$? = 4 ]; }

install: $(SPINDLE)
	Scripts/install "$(DESTDIR)" "$(PREFIX)"

uninstall:
	Scripts/uninstall "$(DESTDIR)" "$(PREFIX)"

deb: $(SPINDLE)
	@Scripts/install-packages $(DEB_PACKAGES)
	Scripts/make-deb .build-deb

# For Scripts/build-times.
release-options:
	@echo "$(RELEASE)"

clean:
	rm -rf .build

packages:
	@Scripts/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)

guest-packages:
	@Scripts/install-packages $(GUEST_PACKAGES)

build-packages:
	@Scripts/install-packages $(BUILD_PACKAGES)

toolchain:
	@command -v swift >/dev/null || { \
	    echo "There is no 'swift' in PATH. Install a Swift 6.3 toolchain (https://www.swift.org/install/linux)" >&2; \
	    echo "and put its usr/bin into PATH." >&2; exit 1; }

help:
	@echo "make          build the release: $(SPINDLE)"
	@echo "make run      build, make a sparse image if there is none, and serve it as an ATA drive;"
	@echo "              IMAGE=$(IMAGE) SIZE=$(SIZE) ENDPOINT=$(ENDPOINT)"
	@echo "              DEVICE=$(DEVICE)"
	@echo "make test     build and run every test"
	@echo "make check    lint, and the tests of the rooms without I/O: before each commit"
	@echo "make guest-test  the tests with a real Linux in QEMU: 10 to 15 minutes"
	@echo "make fresh-test  the commands of the README, as printed, on a minimal Debian 12 with an ordinary user"
	@echo "make soak     the long tests: 1 GiB in and out through every cache mode, verified random I/O, an hour of torture"
	@echo "make fuzz     a minute (SECONDS_EACH=60) of inputs that nobody thought of, for each reader of others' bytes,"
	@echo "              under Address Sanitizer"
	@echo "make sanitize Thread Sanitizer over what threads share, Address Sanitizer over TLS and the codecs"
	@echo "make mutants  plant hundreds of mistakes in a copy, and print which of them no test notices"
	@echo "make sim      a whole simulated server from each of SEEDS=1000 seeds; SEED=17 is one again"
	@echo "make lint     check format, rules and imports"
	@echo "make bench    compare with nbdkit, qemu-nbd and nbd-server on this machine: 11 minutes, 3 with QUICK=1; writes into"
	@echo "              $(RESULTS) (RESULTS=)"
	@echo "make bench-pipeline  what a request costs between socket and medium, against thresholds"
	@echo "make install  install program, units, documents and shell completions: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)"
	@echo "make uninstall  remove what 'make install' has put there; changed files in /etc stay"
	@echo "make deb      a Debian package, in .build-deb"
	@echo "make packages install the Debian packages that build and tests need (all of the above do so themselves)"
	@echo "make clean    remove what was built; images stay"
