/*
 * backupinfo.c: the facts of a backup as text, and ids of backups.
 */
#include "repo/backupinfo.h"

#include "base/fields.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void
omb_text_put(omb_buf *out, const char *name, const char *value)
{
	size_t size = omb_fields_escaped_size(value);

	omb_buf_printf(out, "%s=", name);
	(void) omb_fields_escape(value, (char *) omb_buf_reserve(out, size + 1));
	out->len += size;
	omb_buf_put_u8(out, '\n');
}

static void
put_u64(omb_buf *out, const char *name, uint64_t value)
{
	omb_buf_printf(out, "%s=%" PRIu64 "\n", name, value);
}

/* Which member a fact is; one of the three is set. */
typedef struct fact
{
	const char *name;
	char **text;
	uint64_t *u64;
	uint32_t *u32;
	int64_t *i64;
} fact;

/* All facts but id, kind and data_checksums; the last ones may be missing. */
#define FACT_COUNT 30
#define FACT_NEEDED 21

static void
describe(omb_backup_info *info, fact out[FACT_COUNT])
{
	const fact facts[FACT_COUNT] = {
		{ "label", &info->label, NULL, NULL, NULL },
		{ "program_version", &info->program_version, NULL, NULL, NULL },
		{ "pgdata", &info->pgdata, NULL, NULL, NULL },
		{ "backup_label", &info->backup_label, NULL, NULL, NULL },
		{ "tablespace_map", &info->tablespace_map, NULL, NULL, NULL },
		{ "system_identifier", NULL, &info->system_identifier, NULL, NULL },
		{ "pg_version", NULL, NULL, &info->pg_version, NULL },
		{ "control_version", NULL, NULL, &info->control_version, NULL },
		{ "catalog_version", NULL, NULL, &info->catalog_version, NULL },
		{ "wal_segment_size", NULL, &info->wal_segment_size, NULL, NULL },
		{ "start_lsn", NULL, &info->start_lsn, NULL, NULL },
		{ "stop_lsn", NULL, &info->stop_lsn, NULL, NULL },
		{ "start_timeline", NULL, NULL, &info->start_timeline, NULL },
		{ "stop_timeline", NULL, NULL, &info->stop_timeline, NULL },
		{ "start_time", NULL, NULL, NULL, &info->start_time },
		{ "stop_time", NULL, NULL, NULL, &info->stop_time },
		{ "files", NULL, &info->files, NULL, NULL },
		{ "bytes", NULL, &info->bytes, NULL, NULL },
		{ "bytes_stored", NULL, &info->bytes_stored, NULL, NULL },
		{ "damaged_pages", NULL, &info->damaged_pages, NULL, NULL },
		{ "entries", NULL, &info->entries, NULL, NULL },
		{ "parent", &info->parent, NULL, NULL, NULL },
		{ "boot_id", &info->boot_id, NULL, NULL, NULL },
		{ "clock_offset", NULL, NULL, NULL, &info->clock_offset },
		{ "bytes_read", NULL, &info->bytes_read, NULL, NULL },
		{ "file_sets", NULL, &info->file_sets, NULL, NULL },
		{ "files_start_time", NULL, NULL, NULL, &info->files_start_time },
		{ "files_stop_time", NULL, NULL, NULL, &info->files_stop_time },
		{ "set_files", NULL, &info->set_files, NULL, NULL },
		{ "set_bytes", NULL, &info->set_bytes, NULL, NULL },
	};

	memcpy(out, facts, sizeof(facts));
}

void
omb_backup_info_write(const omb_backup_info *info, omb_buf *out)
{
	omb_backup_info copy = *info;
	fact facts[FACT_COUNT];
	size_t i;

	describe(&copy, facts);
	omb_text_put(out, "id", info->id);
	omb_text_put(out, "kind", info->kind);
	put_u64(out, "data_checksums", info->data_checksums ? 1 : 0);
	for (i = 0; i < FACT_COUNT; i++)
	{
		if (facts[i].text != NULL)
			omb_text_put(out, facts[i].name,
						 *facts[i].text ? *facts[i].text : "");
		else if (facts[i].u64 != NULL)
			put_u64(out, facts[i].name, *facts[i].u64);
		else if (facts[i].u32 != NULL)
			put_u64(out, facts[i].name, *facts[i].u32);
		else
			omb_buf_printf(out, "%s=%" PRId64 "\n", facts[i].name,
						   *facts[i].i64);
	}
}

static bool
read_fact(const omb_fields *fields, const fact *one)
{
	const char *value = omb_fields_get(fields, one->name);

	if (value == NULL)
		return false;
	if (one->text != NULL)
	{
		*one->text = omb_strdup(value);
		return true;
	}
	if (one->u64 != NULL)
		return omb_fields_get_u64(fields, one->name, one->u64);
	if (one->u32 != NULL)
		return omb_fields_get_u32(fields, one->name, one->u32);
	return omb_fields_get_i64(fields, one->name, one->i64);
}

omb_status
omb_backup_info_read(const uint8_t *text, size_t len, omb_backup_info *info,
					 omb_error *err)
{
	omb_buf copy = OMB_BUF_INIT;
	omb_fields fields;
	fact facts[FACT_COUNT];
	const char *missing = NULL;
	const char *id, *kind;
	uint32_t checksums = 0;
	size_t i;

	memset(info, 0, sizeof(*info));
	omb_buf_put(&copy, text, len);
	if (!omb_fields_parse_text(omb_buf_text(&copy), len, &fields))
	{
		omb_buf_free(&copy);
		return omb_error_set(err, OMB_DAMAGED, "its facts are damaged");
	}
	id = omb_fields_get(&fields, "id");
	kind = omb_fields_get(&fields, "kind");
	if (id == NULL || !omb_backup_id_valid(id))
		missing = "id";
	else if (kind == NULL || strlen(kind) >= sizeof(info->kind))
		missing = "kind";
	else if (!omb_fields_get_u32(&fields, "data_checksums", &checksums))
		missing = "data_checksums";
	else
	{
		memcpy(info->id, id, strlen(id) + 1);
		memcpy(info->kind, kind, strlen(kind) + 1);
		info->data_checksums = checksums != 0;
	}
	describe(info, facts);
	for (i = 0; i < FACT_COUNT && missing == NULL; i++)
	{
		if (!read_fact(&fields, &facts[i]) && i < FACT_NEEDED)
			missing = facts[i].name;
	}
	omb_buf_free(&copy);
	if (missing != NULL)
		return omb_error_set(err, OMB_DAMAGED,
							 "fact \"%s\" is missing or damaged", missing);
	return OMB_OK;
}

void
omb_backup_info_clear(omb_backup_info *info)
{
	free(info->label);
	free(info->program_version);
	free(info->pgdata);
	free(info->backup_label);
	free(info->tablespace_map);
	free(info->parent);
	free(info->boot_id);
	memset(info, 0, sizeof(*info));
}

bool
omb_backup_is_base(const omb_backup_info *info)
{
	return strcmp(info->kind, OMB_BACKUP_FILES) != 0;
}

void
omb_backup_id_new(int64_t time, char out[OMB_BACKUP_ID_MAX])
{
	char text[OMB_TIME_TEXT];
	uint8_t random[2];
	size_t len;

	(void) omb_time_compact(time, text);
	len = strlen(text);
	omb_random(random, sizeof(random));
	memcpy(out, text, len);
	out[len] = '-';
	(void) omb_hex_format(random, sizeof(random), out + len + 1);
}

bool
omb_backup_id_valid(const char *id)
{
	static const char form[] = "dddddddd"
							   "T"
							   "dddddd"
							   "Z-xxxx";
	size_t i;

	if (strlen(id) != sizeof(form) - 1)
		return false;
	for (i = 0; i < sizeof(form) - 1; i++)
	{
		bool digit = id[i] >= '0' && id[i] <= '9';
		bool letter = id[i] >= 'a' && id[i] <= 'f';

		if (form[i] == 'd' ? !digit :
			form[i] == 'x' ? !digit && !letter :
							 id[i] != form[i])
			return false;
	}
	return true;
}
