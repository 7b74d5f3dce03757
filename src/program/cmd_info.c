/*
 * cmd_info.c: show all about one backup.
 */
#include "program/commands.h"
#include "program/options.h"
#include "program/showinfo.h"

#include "base/text.h"
#include "pgfmt/lsn.h"

#include <inttypes.h>
#include <stdio.h>

static const omb_command command = { "info", "BACKUP",
									 "Show all about one backup.", NULL };

static void
print_facts(const omb_backup_info *info, const omb_pin *pin)
{
	char text[OMB_TIME_TEXT];
	char other[OMB_TIME_TEXT];

	printf("backup:             %s\n", info->id);
	printf("label:              %s\n", info->label);
	printf("kind:               %s\n", info->kind);
	printf("started:            %s\n",
		   omb_time_format(info->start_time, text));
	printf("stopped:            %s\n", omb_time_format(info->stop_time, text));
	printf("WAL:                %s to %s, timeline %u\n",
		   omb_lsn_format(info->start_lsn, text),
		   omb_lsn_format(info->stop_lsn, other), info->stop_timeline);
	printf("size:               %s in %" PRIu64 " files\n",
		   omb_size_format(info->bytes, text), info->files);
	if (info->file_sets > 0)
		printf("application:        %s in %" PRIu64 " files of %" PRIu64
			   " sets\n",
			   omb_size_format(info->set_bytes, text), info->set_files,
			   info->file_sets);
	if (info->parent != NULL && info->parent[0] != 0)
		printf("builds upon:        %s\n", info->parent);
	printf("stored:             %s\n",
		   omb_size_format(info->bytes_stored, text));
	printf("data checksums:     %s\n",
		   info->data_checksums ? "on, verified" : "off");
	printf("damaged pages:      %" PRIu64 "\n", info->damaged_pages);
	printf("data directory:     %s\n", info->pgdata);
	printf("PostgreSQL:         %u.%u\n", info->pg_version / 10000,
		   info->pg_version % 10000);
	printf("system identifier:  %" PRIu64 "\n", info->system_identifier);
	printf("made by:            omsupply_backup %s\n", info->program_version);
	if (pin->pinned)
		printf("pinned:             %s\n",
			   pin->reason[0] ? pin->reason : "no reason given");
}

/* Damaged pages and tablespaces are in the entries. */
static omb_status
show_entries(omb_manifest *manifest, omb_json *json, omb_error *err)
{
	bool end = false;
	size_t i;

	if (json != NULL)
		omb_json_open(json, "damaged", '[');
	while (!end)
	{
		omb_entry entry;

		if (omb_manifest_next(manifest, &entry, &end, err) != OMB_OK)
			return err->status;
		if (end)
			break;
		if (json == NULL && entry.type == OMB_ENTRY_LINK &&
			entry.root == OMB_ROOT_PGDATA)
			printf("tablespace:         %s -> %s\n", entry.path, entry.target);
		for (i = 0; i < entry.damaged_count; i++)
		{
			if (json == NULL)
				printf("damaged page:       file \"%s\", block %u\n",
					   entry.path, entry.damaged[i]);
			else
			{
				omb_json_open(json, NULL, '{');
				omb_json_text(json, "file", entry.path);
				omb_json_u64(json, "block", entry.damaged[i]);
				omb_json_close(json, '}');
			}
		}
		omb_entry_clear(&entry);
	}
	if (json != NULL)
		omb_json_close(json, ']');
	return OMB_OK;
}

int
omb_command_info(int argc, char **argv)
{
	omb_repository_options where = { 0 };
	bool as_json = false;
	const omb_option options[] = {
		OMB_REPOSITORY_OPTIONS(where),
		{ "json", NULL, "write JSON", NULL, &as_json, NULL },
	};
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo = NULL;
	omb_manifest *manifest = NULL;
	omb_pin pin = { false, NULL, 0 };
	omb_json json;
	const char *backup;
	int status = omb_options_parse(&command, options,
								   sizeof(options) / sizeof(options[0]), argc,
								   argv, &backup, 1, 1);

	if (status >= 0)
		return status;
	if (omb_repository_options_open(&where, &repo, &err) == OMB_OK &&
		omb_manifest_open(repo, backup, &manifest, &err) == OMB_OK &&
		omb_pin_read(repo, backup, &pin, &err) == OMB_OK)
	{
		if (as_json)
		{
			omb_json_begin(&json, stdout);
			omb_json_open(&json, NULL, '{');
			omb_show_info_json(&json, &manifest->info);
			omb_show_pin_json(&json, &pin);
		}
		else
			print_facts(&manifest->info, &pin);
		(void) show_entries(manifest, as_json ? &json : NULL, &err);
		if (as_json)
		{
			omb_json_close(&json, '}');
			omb_json_end(&json);
		}
	}
	if (err.status != OMB_OK)
		omb_print_error(&err);
	omb_pin_clear(&pin);
	omb_manifest_close(manifest);
	omb_repository_free(repo);
	return omb_exit_status(err.status);
}
