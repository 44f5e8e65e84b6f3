# Spindle's commands; `make help` lists them. What a command does beyond one line is in Scripts/.

# What `make run` serves, and where.
IMAGE = images/drive.img
SIZE = 3G
ENDPOINT = tcp:127.0.0.1:10809
DEVICE = ide-hd,serial=918a6997-1928-38a1-9,write-cache=on
export IMAGE SIZE ENDPOINT DEVICE

# Where `make install` puts things; DESTDIR goes before it, for packages.
PREFIX ?= /usr/local

# What the build needs of Debian beside a Swift toolchain: liburing, GnuTLS, libseccomp, a linker and C headers, and what the toolchain
# itself loads.
BUILD_PACKAGES = liburing-dev libgnutls28-dev libseccomp-dev pkg-config gcc g++ binutils libc6-dev git ca-certificates \
    python3 libcurl4 libncurses6 libsqlite3-0 libxml2
# What the tests run.
TEST_PACKAGES = $(shell sed 's/#.*//' Tests/packages.txt)
GUEST_PACKAGES = $(shell sed 's/#.*//' Tests/Guest/packages.txt)

SPINDLE = .build/release/spindle
# The runtime library of Swift goes into the program, which then runs where no toolchain is.
RELEASE = -c release --static-swift-stdlib --product spindle

.PHONY: build run test guest-test soak lint bench bench-pipeline install clean help packages build-packages toolchain

build: $(SPINDLE)

# In the recipe, so that 'sudo make install' after 'make' needs no toolchain in root's PATH.
$(SPINDLE): Package.swift $(shell find Sources -type f)
	@$(MAKE) --no-print-directory toolchain build-packages
	swift build $(RELEASE)
	@touch $@

run: $(SPINDLE)
	@Scripts/run

test: toolchain packages
	swift test

# A real Linux in QEMU: nbd-client, the drive behind QEMU's IDE, booting from it, units of systemd.
guest-test: $(SPINDLE)
	@Scripts/install-packages $(GUEST_PACKAGES)
	Tests/Guest/run $(SPINDLE)

# What takes too long for every change: 1 GiB through every cache mode, minutes of verified random I/O.
soak: $(SPINDLE) packages
	Tests/Interop/soak.sh $(SPINDLE)

lint: toolchain packages
	swift format lint --strict -r Sources Tests Package.swift Benchmarks/Package.swift Benchmarks/Benchmarks
	Scripts/check-rules
	swift build -q --build-tests --explicit-target-dependency-import-check error

bench: $(SPINDLE) packages
	Benchmarks/EndToEnd/run.py

# The pipeline alone, against the thresholds in Benchmarks/Thresholds. Status 4 says that it is better than they are.
bench-pipeline: toolchain build-packages
	cd Benchmarks && { swift package --disable-sandbox benchmark thresholds check --no-progress || [ $$? = 4 ]; }

install: $(SPINDLE)
	Scripts/install "$(DESTDIR)$(PREFIX)"

clean:
	rm -rf .build

packages:
	@Scripts/install-packages $(BUILD_PACKAGES) $(TEST_PACKAGES)

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
	@echo "make guest-test  the tests with a real Linux in QEMU: 10 to 15 minutes"
	@echo "make soak     the long tests: 1 GiB in and out through every cache mode, verified random I/O"
	@echo "make lint     check format, rules and imports"
	@echo "make bench    compare with nbdkit, qemu-nbd and nbd-server on this machine: 11 minutes, 3 with QUICK=1"
	@echo "make bench-pipeline  what a request costs between socket and medium, against thresholds"
	@echo "make install  install program, documents and shell completions: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)"
	@echo "make packages install the Debian packages that build and tests need (all of the above do so themselves)"
	@echo "make clean    remove what was built; images stay"
