/*
 * restoremark.c: the sign that a data directory is being restored.
 */
#include "task/restore/restoremark.h"

#include "base/buffer.h"
#include "base/fields.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LINE \
	"This data directory is incomplete: omsupply_backup restore\n"
/* As large as pg_control, so that the server gives its plain message. */
#define SIGN_SIZE 8192

omb_status
omb_restore_mark_write(const char *pgdata, uint64_t system_identifier,
					   omb_error *err)
{
	char *path = omb_format("%s/" OMB_CONTROL_PATH, pgdata);
	char *folder = omb_path_parent(path);
	omb_buf text = OMB_BUF_INIT;

	omb_buf_printf(&text,
				   FIRST_LINE "format=1\nsystem_identifier=%" PRIu64 "\n",
				   system_identifier);
	memset(omb_buf_reserve(&text, SIGN_SIZE - text.len), '\n',
		   SIGN_SIZE - text.len);
	text.len = SIGN_SIZE;
	if (omb_directory_create(folder, 0700, err) == OMB_OK &&
		omb_file_replace(path, text.data, text.len, 0600, err) == OMB_OK)
		(void) omb_directory_sync(pgdata, err);
	omb_buf_free(&text);
	free(folder);
	free(path);
	return err->status;
}

bool
omb_restore_mark_parse(const void *bytes, size_t len,
					   uint64_t *system_identifier)
{
	const char *text = bytes;
	omb_buf fields_text = OMB_BUF_INIT;
	omb_fields fields;
	bool ok;

	if (len < strlen(FIRST_LINE) ||
		memcmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
		return false;
	text += strlen(FIRST_LINE);
	len -= strlen(FIRST_LINE);
	while (len > 1 && text[len - 1] == '\n' && text[len - 2] == '\n')
		len--;
	omb_buf_put(&fields_text, text, len);
	ok = omb_fields_parse_text(omb_buf_text(&fields_text), fields_text.len,
							   &fields) &&
		 omb_fields_get_u64(&fields, "system_identifier", system_identifier);
	omb_buf_free(&fields_text);
	return ok;
}
