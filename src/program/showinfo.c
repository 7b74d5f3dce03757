/*
 * showinfo.c: the facts of a backup as JSON.
 */
#include "program/showinfo.h"

#include "base/text.h"
#include "pgfmt/lsn.h"

#include <inttypes.h>
#include <stdlib.h>

static void
put_lsn(omb_json *json, const char *name, uint64_t lsn)
{
	char text[OMB_LSN_TEXT];

	omb_json_text(json, name, omb_lsn_format(lsn, text));
}

static void
put_time(omb_json *json, const char *name, int64_t time)
{
	char text[OMB_TIME_TEXT];

	omb_json_text(json, name, omb_time_format(time, text));
}

void
omb_show_info_json(omb_json *json, const omb_backup_info *info)
{
	char *identifier = omb_format("%" PRIu64, info->system_identifier);

	omb_json_text(json, "id", info->id);
	omb_json_text(json, "kind", info->kind);
	omb_json_text(json, "parent", info->parent ? info->parent : "");
	omb_json_text(json, "label", info->label);
	put_time(json, "started_at", info->start_time);
	put_time(json, "stopped_at", info->stop_time);
	put_lsn(json, "start_lsn", info->start_lsn);
	put_lsn(json, "stop_lsn", info->stop_lsn);
	omb_json_u64(json, "timeline", info->stop_timeline);
	omb_json_u64(json, "bytes", info->bytes);
	omb_json_u64(json, "bytes_read", info->bytes_read);
	omb_json_u64(json, "bytes_stored", info->bytes_stored);
	omb_json_u64(json, "files", info->files);
	omb_json_u64(json, "file_sets", info->file_sets);
	if (info->file_sets > 0)
	{
		put_time(json, "files_started_at", info->files_start_time);
		omb_json_u64(json, "set_files", info->set_files);
		omb_json_u64(json, "set_bytes", info->set_bytes);
	}
	omb_json_u64(json, "damaged_pages", info->damaged_pages);
	omb_json_bool(json, "data_checksums", info->data_checksums);
	omb_json_u64(json, "pg_version", info->pg_version);
	omb_json_text(json, "program_version", info->program_version);
	/* larger than what JSON readers keep exactly */
	omb_json_text(json, "system_identifier", identifier);
	omb_json_text(json, "pgdata", info->pgdata);
	omb_json_u64(json, "wal_segment_size", info->wal_segment_size);
	free(identifier);
}

void
omb_show_pin_json(omb_json *json, const omb_pin *pin)
{
	omb_json_bool(json, "pinned", pin->pinned);
	if (pin->pinned)
		omb_json_text(json, "pin_reason", pin->reason);
}
