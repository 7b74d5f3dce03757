# omsupply_backup: a server module (PGXS) and a program.
#
#   make deps        install what is missing (Debian)
#   make             build both into build/
#   make install     into the PostgreSQL that pg_config names
#   make quickstart  see it work on a throwaway cluster
#   make check       all tests
#   make bench       measure against pgBackRest and pg_basebackup

PG_CONFIG ?= $(firstword $(wildcard /usr/lib/postgresql/15/bin/pg_config) pg_config)

all: module program
.PHONY: all install uninstall clean deps module program instroot quickstart golden \
	quickstart-run check check-run check-format check-layers check-clang \
	check-unit check-fuzz check-regress check-tap check-cloud bench

deps:
	@scripts/deps.sh

# ---- the server module: built by PostgreSQL's own makefiles ----

MODULE = $(MAKE) -s -f module.mk PG_CONFIG='$(PG_CONFIG)'
# empty until PostgreSQL is installed, so evaluated when used
bindir = $(shell $(PG_CONFIG) --bindir)
pkglibdir = $(shell $(PG_CONFIG) --pkglibdir)

module:
	@$(MODULE) all

install: all
	@$(MODULE) install DESTDIR='$(DESTDIR)'
	mkdir -p '$(DESTDIR)$(bindir)'
	install -m 755 $(BUILD)/omsupply_backup '$(DESTDIR)$(bindir)/omsupply_backup'

uninstall:
	@$(MODULE) uninstall DESTDIR='$(DESTDIR)'
	rm -f '$(DESTDIR)$(bindir)/omsupply_backup'

clean:
	@$(MODULE) clean
	rm -rf build

# ---- the program ----

PROGRAM_CC = $(CC)
LAYERS = base codec pgfmt store repo task program
CORE_SRC = $(foreach l,$(filter-out program,$(LAYERS)),$(wildcard src/$(l)/*.c src/$(l)/*/*.c))
PROGRAM_SRC = $(CORE_SRC) $(wildcard src/program/*.c)
WARNINGS = -pedantic -Wall -Wextra -Wno-unused-parameter -Werror \
	-Wconversion -Wsign-conversion -Wcast-qual -Wshadow \
	-Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla \
	-Wwrite-strings -Wpointer-arith -Wundef -Wdeclaration-after-statement
ifeq ($(findstring clang,$(PROGRAM_CC)),)
# messages are cut on purpose when they are too long
WARNINGS += -Wduplicated-cond -Wduplicated-branches -Wno-format-truncation
else
WARNINGS += -Wmissing-variable-declarations
endif
PROGRAM_CFLAGS = -std=c99 -D_GNU_SOURCE -D_FORTIFY_SOURCE=2 -O2 -g -pthread \
	-fPIE -fstack-protector-strong -Isrc $(WARNINGS)
PROGRAM_LIBS = -ldl -lssh2 -lexpat -ljansson -lcrypto -lsqlite3 -lz -lzstd -lisal -lpthread
BUILD ?= build
PROGRAM_OBJS = $(patsubst src/%.c,$(BUILD)/obj/%.o,$(PROGRAM_SRC))

program: $(BUILD)/omsupply_backup

$(BUILD)/omsupply_backup: $(PROGRAM_OBJS)
	@$(PROGRAM_CC) -pie -Wl,-z,relro,-z,now -pthread $^ $(PROGRAM_LIBS) -o $@

# nothing but a loop over bytes
$(BUILD)/obj/pgfmt/page.o: PROGRAM_CFLAGS += -O3

$(BUILD)/obj/%.o: src/%.c
	@mkdir -p $(@D)
	@$(PROGRAM_CC) $(PROGRAM_CFLAGS) -MMD -MP -c $< -o $@

-include $(PROGRAM_OBJS:.o=.d)

# ---- a private copy of PostgreSQL with both installed, for tests ----
#
# A server finds its files relative to its own place, so a copy of the tree is
# an installation of its own and the system's stays untouched.

INSTROOT = $(CURDIR)/build/inst
INSTBIN = $(INSTROOT)$(bindir)
export INSTBIN

instroot: all
	@scripts/instroot.sh '$(INSTROOT)' '$(bindir)' '$(pkglibdir)'
	@$(MAKE) -s install DESTDIR='$(INSTROOT)' >/dev/null

quickstart: deps
	@$(MAKE) -s quickstart-run

quickstart-run: instroot
	@scripts/quickstart.sh

# a repository that later versions have to read; see src/test/data/golden/README
golden: instroot
	@scripts/golden.sh $(TAR)

# ---- tests ----

check: deps
	@$(MAKE) -s check-run

check-run: check-format check-layers check-clang check-unit check-fuzz
	@$(MAKE) -s check-regress
	@$(MAKE) -s check-tap
	@$(MAKE) -s check-cloud

check-format:
	@clang-format --dry-run -Werror $(wildcard src/*/*.[ch] src/*/*/*.[ch])

check-layers: program
	@scripts/check-layers.sh

check-clang:
	@$(MAKE) -s program BUILD=build/clang PROGRAM_CC=clang
	@for f in src/backend/*.c; do \
		clang -isystem $$($(PG_CONFIG) --includedir-server) -Isrc -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Werror -fsyntax-only $$f || exit 1; done

SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TEST_CFLAGS = $(filter-out -D_FORTIFY_SOURCE=2 -O2,$(PROGRAM_CFLAGS)) -O1 $(SANITIZE)
CORE_TEST_OBJS = $(patsubst src/%.c,build/asan/%.o,$(CORE_SRC))
UNIT_TESTS = $(patsubst src/test/%.c,build/test/%,$(wildcard src/test/test_*.c))
FUZZ_TESTS = $(patsubst src/test/%.c,build/test/%,$(wildcard src/test/fuzz_*.c))

build/asan/%.o: src/%.c
	@mkdir -p $(@D)
	@$(CC) $(TEST_CFLAGS) -MMD -MP -c $< -o $@

-include $(CORE_TEST_OBJS:.o=.d)

build/test/test_%: src/test/test_%.c $(wildcard src/test/*.h) $(CORE_TEST_OBJS)
	@mkdir -p $(@D)
	@$(CC) $(TEST_CFLAGS) $< $(CORE_TEST_OBJS) $(PROGRAM_LIBS) -o $@

build/test/fuzz_%: src/test/fuzz_%.c src/test/replay.c $(CORE_TEST_OBJS)
	@mkdir -p $(@D)
	@$(CC) $(TEST_CFLAGS) $< src/test/replay.c $(CORE_TEST_OBJS) $(PROGRAM_LIBS) -o $@

check-unit: $(UNIT_TESTS)
	@prove -Q -e '' $(UNIT_TESTS)

check-fuzz: $(FUZZ_TESTS)
	@scripts/check-fuzz.sh $(FUZZ_TESTS)

check-regress: instroot
	@scripts/regress.sh

build/tests/faultshim.so: src/test/faultshim.c
	@mkdir -p $(@D)
	@$(CC) -std=c99 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror -fPIC -shared $< -ldl -o $@

build/tests/clockshim.so: src/test/clockshim.c
	@mkdir -p $(@D)
	@$(CC) -std=c99 -D_GNU_SOURCE -O1 -Wall -Wextra -Wno-unused-parameter -Werror -fPIC -shared $< -ldl -o $@

build/tests/shadowshim.so: src/test/shadowshim.c
	@mkdir -p $(@D)
	@$(CC) -std=c99 -D_GNU_SOURCE -O1 -Wall -Wextra -Wno-unused-parameter -Werror -fPIC -shared $< -o $@

build/tests/cloudsuite: src/test/cloudsuite.c $(wildcard src/test/*.h) $(CORE_TEST_OBJS)
	@mkdir -p $(@D)
	@$(CC) $(TEST_CFLAGS) $< $(CORE_TEST_OBJS) $(PROGRAM_LIBS) -o $@

# next runs of schedules, to compare with another implementation of cron
build/tests/cronnext: src/test/cronnext.c src/base/cron.c src/base/cron.h
	@mkdir -p $(@D)
	@$(CC) $(TEST_CFLAGS) $< src/base/cron.c -o $@

# tests against a real S3 server; the first time it is fetched into build/s3root
CLOUD_TESTS = $(shell grep -lE 'OMB_(S3|SWIFT)_PORT' t/[0-9]*.pl)

check-tap: instroot build/tests/faultshim.so build/tests/clockshim.so build/tests/shadowshim.so build/tests/cronnext build/tests/cloudsuite
	@scripts/prove.sh $(or $(TESTS),$(filter-out $(CLOUD_TESTS),$(wildcard t/[0-9]*.pl)))

check-cloud: instroot build/tests/faultshim.so build/tests/clockshim.so build/tests/cloudsuite
	@scripts/prove.sh $(CLOUD_TESTS)

bench: instroot
	@bench/full.sh
	@bench/incremental.sh
	@bench/cloud.sh
	@bench/archiver.sh
