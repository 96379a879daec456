# SPDX-License-Identifier: Apache-2.0
# A thin front over Meson. Everything is built below $(BUILD).
#
#   make            build
#   make demo       build, fetch Debian's kernel and busybox, boot them, show what ran
#   make demo-debian  a whole Debian 12 from a VHD to its login prompt, beside QEMU
#   make check      every suite, short forms; closes with one line of counts
#   make check-long the long forms of fuzz, differential and soak runs
#   make bench      the benches, ours beside a peer (ONLY=name for one)
#   make run        the daemons in the foreground, from the build tree
#   make install    to DESTDIR and PREFIX

BUILD  ?= build
PREFIX ?= /usr
MESON_OPTIONS ?=
ONLY   ?=
SUITE  ?=

export CC ?= gcc
JOBS := $(shell nproc)

all: $(BUILD)/build.ninja
	ninja -j$(JOBS) -C $(BUILD)

packages:
	@.ci/install-packages

$(BUILD)/build.ninja: | packages
	meson setup --prefix=$(PREFIX) $(MESON_OPTIONS) $(BUILD)

demo: packages all
	tests/system/demo --build $(BUILD)

demo-debian: packages all
	tests/system/demo_debian --build $(BUILD)

check: packages all
	tests/run-suites --build $(BUILD) $(if $(SUITE),--suite $(SUITE))

check-long: packages all
	BULKHEAD_LONG=1 tests/run-suites --build $(BUILD) $(if $(SUITE),--suite $(SUITE))

bench: packages all
	tests/bench/run --build $(BUILD) $(ONLY)

run: packages all
	tests/system/stack --build $(BUILD)

install: all
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

# The same tree under the sanitizers, in folders of their own.
asan ubsan: packages
	@test -f build-asan/build.ninja || meson setup -Db_sanitize=address,undefined -Db_lundef=false build-asan
	ninja -j$(JOBS) -C build-asan
	tests/run-suites --build build-asan --suite unit

tsan: packages
	@test -f build-tsan/build.ninja || meson setup -Db_sanitize=thread -Db_lundef=false build-tsan
	ninja -j$(JOBS) -C build-tsan
	tests/run-suites --build build-tsan --suite bus

clean:
	rm -rf $(BUILD) build-asan build-tsan

.PHONY: all packages demo demo-debian check check-long bench run install asan ubsan tsan clean
