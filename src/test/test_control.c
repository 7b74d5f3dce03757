/*
 * test_control.c: the file pg_control.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "base/file.h"
#include "pgfmt/control.h"

#include <stdlib.h>

#define CONTROL_SIZE 8192
/* of the state after a clean shutdown */
#define SHUT_DOWN 1

static omb_buf file;

static void
read_control(const char *name)
{
	const char *folder = getenv("OMB_TEST_DATA");
	char *path =
		omb_format("%s/pgfmt/%s", folder ? folder : "src/test/data", name);
	omb_error err = OMB_ERROR_INIT;

	omb_buf_clear(&file);
	if (omb_file_read(path, CONTROL_SIZE, &file, &err) != OMB_OK)
		ok(false, "%s", err.message);
	free(path);
}

static omb_status
parse(size_t len, omb_control *out)
{
	omb_error err = OMB_ERROR_INIT;

	return omb_control_parse(file.data, len, out, &err);
}

static void
values_are_those_of_pg_controldata(void)
{
	omb_control control;

	read_control("pg_control-checksums");
	ok(parse(file.len, &control) == OMB_OK, "the file of a server is read");
	is_u64(control.system_identifier, UINT64_C(7710505366549627179),
		   "system identifier");
	is_u64(control.control_version, 1300, "format");
	is_u64(control.catalog_version, 202209061, "catalog");
	is_u64(control.state, SHUT_DOWN, "state");
	is_u64(control.checkpoint_lsn, 0x9200028, "checkpoint");
	read_control("pg_control-plain");
	ok(parse(file.len, &control) == OMB_OK &&
		   control.system_identifier == UINT64_C(7710503636228918483) &&
		   control.checkpoint_lsn == 0x1511A60,
	   "another one");
	ok(parse(control.crc_offset + 4, &control) == OMB_OK,
	   "what follows the CRC is not needed");
}

static void
a_torn_file_is_refused(void)
{
	omb_control control;
	size_t i, crc_offset, bad = 0;

	read_control("pg_control-plain");
	(void) parse(file.len, &control);
	crc_offset = control.crc_offset;
	for (i = 0; i < crc_offset + 4; i++)
	{
		bad += parse(i, &control) != OMB_DAMAGED;
		file.data[i] ^= 0x10;
		bad += parse(file.len, &control) != OMB_DAMAGED;
		file.data[i] ^= 0x10;
	}
	is_u64(bad, 0, "any byte less or changed");
	file.data[crc_offset + 4] ^= 1;
	ok(parse(file.len, &control) == OMB_OK, "but those behind the CRC");
	memset(file.data, 0, file.len);
	ok(parse(file.len, &control) == OMB_DAMAGED, "zeros");
	memset(file.data, 0xff, file.len);
	ok(parse(file.len, &control) == OMB_DAMAGED, "ones");
}

static void
an_invalid_checkpoint_is_all_that_changes(void)
{
	omb_error err = OMB_ERROR_INIT;
	omb_control before, after;
	uint8_t *copy = omb_malloc(CONTROL_SIZE);
	size_t i, changed = 0;

	read_control("pg_control-checksums");
	memcpy(copy, file.data, CONTROL_SIZE);
	(void) parse(file.len, &before);
	ok(omb_control_invalidate(file.data, file.len, &err) == OMB_OK &&
		   parse(file.len, &after) == OMB_OK,
	   "the CRC fits");
	ok(after.checkpoint_lsn != before.checkpoint_lsn &&
		   after.checkpoint_lsn % 8 != 0,
	   "no record is where the checkpoint should be");
	ok(after.system_identifier == before.system_identifier &&
		   after.crc_offset == before.crc_offset &&
		   after.state == before.state,
	   "the rest is as it was");
	for (i = 0; i < CONTROL_SIZE; i++)
		changed += copy[i] != file.data[i] && (i < 32 || i >= 40) &&
				   (i < after.crc_offset || i >= after.crc_offset + 4);
	is_u64(changed, 0, "byte by byte");
	file.data[0] ^= 1;
	memcpy(copy, file.data, CONTROL_SIZE);
	ok(omb_control_invalidate(file.data, file.len, &err) == OMB_DAMAGED &&
		   memcmp(copy, file.data, CONTROL_SIZE) == 0,
	   "a damaged file is refused: %s", err.message);
	free(copy);
}

int
main(void)
{
	values_are_those_of_pg_controldata();
	a_torn_file_is_refused();
	an_invalid_checkpoint_is_all_that_changes();
	omb_buf_free(&file);
	return tap_done();
}
