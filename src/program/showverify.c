/*
 * showverify.c: what verify found, as text or JSON.
 */
#include "program/showverify.h"

#include "base/text.h"
#include "pgfmt/lsn.h"

#include <inttypes.h>
#include <stdio.h>

/* Ids of backups named in one line of text. */
#define IDS_SHOWN 10

static const char *
kind_name(omb_problem_kind kind)
{
	switch (kind)
	{
		case OMB_PROBLEM_PACK:
			return "pack";
		case OMB_PROBLEM_WAL:
			return "wal";
		case OMB_PROBLEM_BACKUP:
			return "backup";
		case OMB_PROBLEM_MARK:
			return "mark";
		case OMB_PROBLEM_OTHER:
			break;
	}
	return "other";
}

/* ---- damage ---- */

static void
put_time(omb_json *json, const char *name, int64_t time)
{
	char text[OMB_TIME_TEXT];

	if (time != 0)
		omb_json_text(json, name, omb_time_format(time, text));
}

static void
put_damage(const omb_problem *problem, omb_json *json)
{
	char lsn[OMB_LSN_TEXT];
	size_t i;

	omb_json_open(json, NULL, '{');
	omb_json_text(json, "object", problem->object);
	omb_json_text(json, "kind", kind_name(problem->kind));
	omb_json_text(json, "state", problem->missing ? "missing" : "damaged");
	omb_json_open(json, "backups", '[');
	for (i = 0; i < problem->backup_count; i++)
		omb_json_text(json, NULL, problem->backup[i]);
	omb_json_close(json, ']');
	if (problem->kind == OMB_PROBLEM_PACK)
	{
		omb_json_open(json, "files", '[');
		for (i = 0; i < problem->file_count; i++)
			omb_json_text(json, NULL, problem->file[i]);
		omb_json_close(json, ']');
		omb_json_u64(json, "files_total", problem->files_total);
	}
	if (problem->lost_from != 0)
	{
		omb_json_u64(json, "timeline", problem->timeline);
		omb_json_text(json, "lost_from_lsn",
					  omb_lsn_format(problem->lost_from, lsn));
		if (problem->lost_to != UINT64_MAX)
			omb_json_text(json, "lost_to_lsn",
						  omb_lsn_format(problem->lost_to, lsn));
		put_time(json, "lost_from_time", problem->lost_from_time);
		put_time(json, "lost_to_time", problem->lost_to_time);
	}
	if (problem->source != NULL)
		omb_json_text(json, "good_copy", problem->source);
	omb_json_bool(json, "repaired", problem->repaired);
	omb_json_close(json, '}');
}

static void
print_ids(const omb_problem *problem)
{
	size_t i;

	printf("         cannot be restored: backup%s ",
		   problem->backup_count == 1 ? "" : "s");
	for (i = 0; i < problem->backup_count && i < IDS_SHOWN; i++)
		printf("%s%s", i > 0 ? ", " : "", problem->backup[i]);
	if (problem->backup_count > IDS_SHOWN)
		printf(" and %zu more", problem->backup_count - IDS_SHOWN);
	printf("\n");
}

static void
print_loss(const omb_problem *problem)
{
	char text[OMB_TIME_TEXT];

	printf("         cannot be reached: on timeline %u from LSN %s",
		   problem->timeline, omb_lsn_format(problem->lost_from, text));
	if (problem->lost_to == UINT64_MAX)
		printf(" to the end");
	else
		printf(" to LSN %s", omb_lsn_format(problem->lost_to, text));
	if (problem->lost_from_time != 0)
		printf(", that is from about %s",
			   omb_time_format(problem->lost_from_time, text));
	if (problem->lost_from_time != 0 && problem->lost_to_time != 0)
		printf(" to %s", omb_time_format(problem->lost_to_time, text));
	printf("\n");
}

static void
print_damage(const omb_problem *problem, bool repair)
{
	size_t i;

	printf("%s %s\n",
		   problem->repaired ? "REPAIRED" :
		   problem->missing	 ? "MISSING " :
							   "DAMAGED ",
		   problem->object);
	if (problem->repaired)
	{
		printf("         from %s\n", problem->source);
		return;
	}
	if (problem->backup_count > 0)
		print_ids(problem);
	if (problem->kind == OMB_PROBLEM_PACK && problem->backup_count == 0)
		printf("         no backup uses it\n");
	for (i = 0; i < problem->file_count; i++)
		printf("         file %s\n", problem->file[i]);
	if (problem->files_total > problem->file_count)
		printf("         and %" PRIu64 " more files\n",
			   problem->files_total - problem->file_count);
	if (problem->lost_from != 0)
		print_loss(problem);
	if (problem->source != NULL)
		printf("         would be repaired from %s\n", problem->source);
	else if (repair)
		printf("         no good copy found\n");
}

void
omb_show_damage(const omb_problems *problems, bool repair, omb_json *json)
{
	size_t i;

	if (json != NULL)
		omb_json_open(json, "damage", '[');
	for (i = 0; i < problems->count; i++)
	{
		if (json != NULL)
			put_damage(&problems->item[i], json);
		else
			print_damage(&problems->item[i], repair);
	}
	if (json != NULL)
		omb_json_close(json, ']');
}

/* ---- coverage ---- */

void
omb_show_coverage(const omb_verify_config *config,
				  const omb_verify_result *result, omb_json *json)
{
	char size[OMB_SIZE_TEXT];
	bool partly = config->sample > 0 || config->max_seconds > 0;

	if (json != NULL)
	{
		omb_json_u64(json, "backups", result->backups);
		omb_json_u64(json, "backups_total", result->backups_total);
		omb_json_u64(json, "packs", result->packs);
		omb_json_u64(json, "packs_total", result->packs_total);
		omb_json_u64(json, "wal_files", result->wal_files);
		omb_json_u64(json, "wal_files_total", result->wal_files_total);
		omb_json_u64(json, "marks", result->marks);
		omb_json_u64(json, "marks_total", result->marks_total);
		omb_json_u64(json, "bytes", result->bytes);
		if (partly)
			omb_json_u64(json, "seed", config->seed);
		return;
	}
	if (config->fast)
		printf("Names and sizes only: %" PRIu64 " backups, %" PRIu64
			   " packs, %" PRIu64 " WAL files, %" PRIu64 " marks: ",
			   result->backups_total, result->packs_total,
			   result->wal_files_total, result->marks_total);
	else if (partly)
		printf("Seed %" PRIu64 ": %" PRIu64 " of %" PRIu64 " backups, %" PRIu64
			   " of %" PRIu64 " packs, %" PRIu64 " of %" PRIu64
			   " WAL files, %" PRIu64 " of %" PRIu64 " marks, %s read: ",
			   config->seed, result->backups, result->backups_total,
			   result->packs, result->packs_total, result->wal_files,
			   result->wal_files_total, result->marks, result->marks_total,
			   omb_size_format(result->bytes, size));
	else
		printf("%" PRIu64 " backups, %" PRIu64 " packs, %" PRIu64
			   " WAL files, %" PRIu64 " marks, %s read: ",
			   result->backups_total, result->packs, result->wal_files,
			   result->marks, omb_size_format(result->bytes, size));
}

/* ---- what is left ---- */

static void
put_restorable(const omb_impact *impact, omb_json *json)
{
	char lsn[OMB_LSN_TEXT];
	size_t i;

	omb_json_open(json, "intact", '[');
	for (i = 0; i < impact->intact_count; i++)
		omb_json_text(json, NULL, impact->intact[i]);
	omb_json_close(json, ']');
	omb_json_open(json, "reachable", '[');
	for (i = 0; i < impact->reach_count; i++)
	{
		const omb_reach *reach = &impact->reach[i];

		omb_json_open(json, NULL, '{');
		omb_json_u64(json, "timeline", reach->timeline);
		omb_json_text(json, "backup", reach->backup);
		omb_json_text(json, "lsn", omb_lsn_format(reach->lsn, lsn));
		put_time(json, "archived_at", reach->time);
		omb_json_close(json, '}');
	}
	omb_json_close(json, ']');
}

void
omb_show_restorable(const omb_impact *impact, omb_json *json)
{
	char text[OMB_TIME_TEXT];
	size_t i;

	if (json != NULL)
	{
		put_restorable(impact, json);
		return;
	}
	printf("%zu of %" PRIu64 " backups can be restored", impact->intact_count,
		   impact->backups);
	if (impact->intact_count > 0 && impact->intact_count < impact->backups)
		printf(", the newest is %s", impact->intact[impact->intact_count - 1]);
	printf(".\n");
	for (i = 0; i < impact->reach_count; i++)
	{
		const omb_reach *reach = &impact->reach[i];

		printf("Timeline %u can be recovered to LSN %s", reach->timeline,
			   omb_lsn_format(reach->lsn, text));
		if (reach->time != 0)
			printf(", archived at %s", omb_time_format(reach->time, text));
		printf(".\n");
	}
}
