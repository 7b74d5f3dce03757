# module.mk: the server module and the extension's files, by PGXS.
# Called from Makefile.

MODULE_big = omsupply_backup
OBJS = $(patsubst %.c,%.o,$(wildcard src/backend/*.c)) src/base/fields.o \
	src/base/cron.o src/base/window.o src/base/location.o src/base/percent.o
EXTENSION = omsupply_backup
DATA = $(wildcard sql/omsupply_backup--*.sql)
PG_CPPFLAGS = -I$(CURDIR)/src
# PG_FINALLY()'s own variable looks clobbered to gcc
PG_CFLAGS = -Wextra -Wno-unused-parameter -Wno-clobbered -Werror

# Debian's PostgreSQL would want clang and LLVM for bitcode
override with_llvm = no

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS): $(wildcard src/backend/*.h) src/base/fields.h src/base/cron.h \
	src/base/window.h src/base/location.h src/base/percent.h
