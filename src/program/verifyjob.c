/*
 * verifyjob.c: the agent's job "verify".
 */
#include "program/jobs.h"

#include "program/agent.h"

#include "base/text.h"
#include "task/verify/verify.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A line of progress not more often than this, in microseconds. */
#define PROGRESS_PAUSE 500000

static void
send_problem(const char *object, const omb_error *problem, void *arg)
{
	omb_agent_begin("warning");
	omb_agent_error_fields(problem);
	omb_agent_end();
}

static void
ignore_note(const char *text, void *arg)
{
}

static void
send_progress(const char *step, uint64_t bytes, uint64_t total, void *arg)
{
	int64_t *last = arg;
	int64_t now = omb_time_steady();

	if (*last != 0 && now - *last < PROGRESS_PAUSE)
		return;
	*last = now;
	omb_agent_begin("progress");
	omb_agent_text("phase", "verify");
	omb_agent_u64("bytes_done", bytes);
	omb_agent_u64("bytes_total", total);
	omb_agent_end();
}

static omb_status
read_limits(const omb_fields *fields, omb_verify_config *config,
			omb_error *err)
{
	const char *sample = omb_fields_get(fields, "sample");
	const char *max_time = omb_fields_get(fields, "max_time");
	double seconds = 0;
	char *end = NULL;

	config->sample = 100;
	if (sample != NULL)
	{
		config->sample = strtod(sample, &end);
		if (end == sample || *end != '\0' ||
			!(config->sample > 0 && config->sample <= 100))
			return omb_error_set(err, OMB_USAGE, "invalid sample \"%s\"",
								 sample);
	}
	if (max_time != NULL)
	{
		seconds = strtod(max_time, &end);
		if (end == max_time || *end != '\0' ||
			!(seconds > 0 && seconds <= 10000000))
			return omb_error_set(err, OMB_USAGE, "invalid time \"%s\"",
								 max_time);
		config->max_seconds = seconds < 1 ? 1 : (uint64_t) seconds;
	}
	return OMB_OK;
}

omb_status
omb_job_verify(const omb_job *job, omb_error *err)
{
	omb_verify_config config;
	omb_verify_result result;
	int64_t last = 0;

	memset(&config, 0, sizeof(config));
	memset(&result, 0, sizeof(result));
	config.jobs = job->jobs;
	config.seed = (uint64_t) omb_time_now();
	config.problem = send_problem;
	config.note = ignore_note;
	config.progress = send_progress;
	config.arg = &last;
	if (read_limits(&job->fields, &config, err) != OMB_OK ||
		omb_job_open(job, false, &config.repo, err) != OMB_OK)
		return err->status;
	if (omb_verify(&config, &result, err) == OMB_OK &&
		result.problems.total > 0)
	{
		(void) omb_error_set(
			err, OMB_DAMAGED,
			"verifying the repository found %" PRIu64 " problem%s",
			result.problems.total, result.problems.total == 1 ? "" : "s");
		omb_error_hint(err, "Run \"omsupply_backup verify\" to see what can "
							"be restored, and \"verify --repair-from\" with "
							"a good copy of the repository.");
	}
	if (err->status == OMB_OK)
	{
		omb_agent_begin("done");
		omb_agent_u64("bytes_read", result.bytes);
		omb_agent_u64("files", result.packs + result.wal_files);
		omb_agent_end();
	}
	omb_problems_clear(&result.problems);
	omb_repository_free(config.repo);
	return err->status;
}
