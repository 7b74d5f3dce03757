/*
 * recoverytarget.c: the options that say how far recovery shall go.
 */
#include "program/recoverytarget.h"

#include "base/text.h"
#include "pgfmt/lsn.h"

#include <stdio.h>
#include <string.h>

/* Exactly one target, read. */
static omb_status
read_target(const omb_recovery_options *args, omb_target *target,
			omb_error *err)
{
	int given = (args->time != NULL) + (args->lsn != NULL) +
				(args->xid != NULL) + (args->name != NULL) +
				(args->mark != NULL) + (args->immediate ? 1 : 0);
	uint64_t number;

	memset(target, 0, sizeof(*target));
	if (given > 1)
		return omb_error_set(err, OMB_USAGE, "more than one target is given");
	if (args->immediate)
		target->kind = OMB_TARGET_IMMEDIATE;
	if (args->time != NULL)
	{
		target->kind = OMB_TARGET_TIME;
		if (!omb_time_parse(args->time, &target->time))
		{
			(void) omb_error_set(err, OMB_USAGE, "invalid time \"%s\"",
								 args->time);
			omb_error_hint(err, "Write it as 2026-11-20 23:15:00+00.");
		}
	}
	if (args->lsn != NULL)
	{
		target->kind = OMB_TARGET_LSN;
		if (!omb_lsn_parse(args->lsn, &target->lsn))
			(void) omb_error_set(err, OMB_USAGE, "invalid LSN \"%s\"",
								 args->lsn);
	}
	if (args->xid != NULL)
	{
		target->kind = OMB_TARGET_XID;
		if (!omb_u64_parse(args->xid, &number) || number < 3 ||
			number > UINT32_MAX)
			(void) omb_error_set(err, OMB_USAGE,
								 "invalid transaction id \"%s\"", args->xid);
		target->xid = (uint32_t) number;
	}
	if (args->name != NULL)
	{
		target->kind = OMB_TARGET_NAME;
		target->name = args->name;
		if (strlen(args->name) > 63)
			(void) omb_error_set(
				err, OMB_USAGE, "a restore point's name has at most 63 bytes");
	}
	return err->status;
}

static omb_status
read_timeline(const char *text, omb_target *target, omb_error *err)
{
	uint64_t number;

	if (text == NULL || strcmp(text, "latest") == 0)
		target->timeline = OMB_TIMELINE_LATEST;
	else if (strcmp(text, "current") == 0)
		target->timeline = OMB_TIMELINE_CURRENT;
	else if (omb_u64_parse(text, &number) && number >= 1 &&
			 number < UINT32_MAX)
		target->timeline = (uint32_t) number;
	else
		(void) omb_error_set(err, OMB_USAGE,
							 "invalid timeline \"%s\": it must be \"latest\", "
							 "\"current\" or a number",
							 text);
	return err->status;
}

omb_status
omb_recovery_options_read(const omb_recovery_options *options,
						  omb_target *target, omb_error *err)
{
	if (read_target(options, target, err) == OMB_OK)
		(void) read_timeline(options->timeline, target, err);
	return err->status;
}

omb_status
omb_recovery_options_find_mark(const omb_recovery_options *options,
							   omb_repository *repo, omb_target *target,
							   char name[OMB_POINT_RESTORE_POINT_MAX],
							   omb_error *err)
{
	omb_point point;

	if (options->mark == NULL ||
		omb_point_find(repo, options->mark, &point, err) != OMB_OK)
		return err->status;
	(void) snprintf(name, OMB_POINT_RESTORE_POINT_MAX, "mark %s", point.id);
	target->kind = OMB_TARGET_NAME;
	target->name = name;
	target->mark = options->mark;
	target->lsn = point.lsn;
	if (target->timeline == OMB_TIMELINE_LATEST)
		target->timeline = point.timeline;
	return OMB_OK;
}

void
omb_recovery_target_show(const omb_target *target)
{
	char text[OMB_TIME_TEXT];

	switch (target->kind)
	{
		case OMB_TARGET_END:
			printf("the end of the archived WAL");
			break;
		case OMB_TARGET_IMMEDIATE:
			printf("the end of the backup");
			break;
		case OMB_TARGET_TIME:
			printf("time %s", omb_time_format(target->time, text));
			break;
		case OMB_TARGET_LSN:
			printf("LSN %s", omb_lsn_format(target->lsn, text));
			break;
		case OMB_TARGET_XID:
			printf("transaction %u", target->xid);
			break;
		case OMB_TARGET_NAME:
			if (target->mark != NULL)
				printf("mark \"%s\"", target->mark);
			else
				printf("restore point \"%s\"", target->name);
			break;
	}
}
