/*
 * marksjob.c: telling a server which marks and watermarks its repository has.
 */
#include "program/marksjob.h"

#include "program/agent.h"

#include <inttypes.h>
#include <stdio.h>

static void
send_done(void)
{
	omb_agent_begin("done");
	omb_agent_end();
}

static void
send_mark(const omb_point *point, void *arg)
{
	omb_agent_begin("mark");
	omb_agent_text("id", point->id);
	omb_agent_text("name", point->name);
	omb_agent_text("detail", point->detail);
	omb_agent_i64("time", point->time);
	omb_agent_lsn("lsn", point->lsn);
	omb_agent_u64("timeline", point->timeline);
	omb_agent_end();
}

omb_status
omb_marks_job(omb_repository *repo, omb_error *err)
{
	uint64_t unreadable = 0;
	char text[64];

	if (omb_point_list(repo, send_mark, NULL, &unreadable, err) != OMB_OK)
		return err->status;
	if (unreadable > 0)
	{
		(void) snprintf(text, sizeof(text), "%" PRIu64 " marks cannot be read",
						unreadable);
		omb_agent_begin("warning");
		omb_agent_text("message", text);
		omb_agent_text("detail", "");
		omb_agent_text("hint", "Run \"omsupply_backup verify\".");
		omb_agent_end();
	}
	send_done();
	return OMB_OK;
}

static omb_status
send_watermark(const omb_watermark *mark, void *arg, omb_error *err)
{
	omb_agent_begin("watermark");
	omb_agent_text("name", mark->name);
	omb_agent_i64("time", mark->time);
	omb_agent_lsn("lsn", mark->lsn);
	omb_agent_u64("timeline", mark->timeline);
	omb_agent_text("value", mark->value);
	omb_agent_end();
	return OMB_OK;
}

omb_status
omb_watermarks_job(omb_repository *repo, const char *name, int64_t from,
				   int64_t to, omb_error *err)
{
	if (omb_watermark_list(repo, name[0] ? name : NULL, from, to,
						   send_watermark, NULL, err) == OMB_OK)
		send_done();
	return err->status;
}
