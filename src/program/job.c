/*
 * job.c: the first line of a job, and what all jobs do with it.
 */
#include "program/job.h"

#include "program/agent.h"

#include "pgfmt/walname.h"
#include "repo/claim.h"

#include <string.h>

const char *
omb_job_text(const omb_job *job, const char *name)
{
	const char *value = omb_fields_get(&job->fields, name);

	return value ? value : "";
}

const char *
omb_job_text_or_null(const omb_job *job, const char *name)
{
	const char *value = omb_job_text(job, name);

	return value[0] ? value : NULL;
}

omb_status
omb_job_invalid(const char *name, omb_error *err)
{
	return omb_error_set(err, OMB_USAGE,
						 "the server sent no valid \"%s\" with the job", name);
}

omb_status
omb_job_wal_segment_size(const omb_job *job, uint64_t *size, omb_error *err)
{
	if (!omb_fields_get_u64(&job->fields, "wal_segment_size", size) ||
		!omb_wal_segment_size_valid(*size))
		return omb_job_invalid("wal_segment_size", err);
	return OMB_OK;
}

omb_status
omb_job_rules(const omb_job *job, omb_retain_rules *rules, omb_error *err)
{
	const struct
	{
		const char *name;
		uint32_t *value;
	} numbers[] = { { "keep_last", &rules->keep_last },
					{ "keep_days", &rules->keep_days },
					{ "keep_weeks", &rules->keep_weeks },
					{ "keep_months", &rules->keep_months },
					{ "keep_years", &rules->keep_years },
					{ "keep_wal_days", &rules->keep_wal_days },
					{ "minimum", &rules->minimum } };
	size_t i;

	memset(rules, 0, sizeof(*rules));
	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		if (omb_fields_get(&job->fields, numbers[i].name) != NULL &&
			!omb_fields_get_u32(&job->fields, numbers[i].name,
								numbers[i].value))
			return omb_job_invalid(numbers[i].name, err);
	}
	return OMB_OK;
}

omb_status
omb_job_receive(omb_job *job, omb_error *err)
{
	uint32_t jobs = 0;

	if (omb_agent_receive(&job->fields, &job->line, err) != OMB_OK)
		return err->status;
	job->repository = omb_job_text(job, "repository");
	job->key_file = omb_job_text_or_null(job, "key_file");
	job->pgdata = omb_job_text(job, "pgdata");
	if (strcmp(job->fields.verb, "job") != 0)
		return omb_error_set(err, OMB_USAGE, "the server sent no job");
	if (job->repository[0] == '\0')
		return omb_error_set(err, OMB_USAGE,
							 "setting \"omsupply_backup.repository\" is "
							 "empty");
	if (job->pgdata[0] != '/')
		return omb_job_invalid("pgdata", err);
	if (!omb_fields_get_u64(&job->fields, "system_identifier",
							&job->system_identifier))
		return omb_job_invalid("system_identifier", err);
	if (!omb_fields_get_u32(&job->fields, "jobs", &jobs) || jobs < 1 ||
		jobs > 8)
		return omb_job_invalid("jobs", err);
	job->jobs = (int) jobs;
	return omb_compression_parse(omb_job_text(job, "compression"),
								 &job->compression, err);
}

omb_status
omb_job_expect(const char *verb, omb_fields *fields, char **line,
			   omb_error *err)
{
	if (omb_agent_receive(fields, line, err) == OMB_OK &&
		strcmp(fields->verb, verb) != 0)
		(void) omb_error_set(err, OMB_USAGE,
							 "the server sent \"%s\" instead of \"%s\"",
							 fields->verb, verb);
	return err->status;
}

omb_status
omb_job_open(const omb_job *job, bool changes, omb_repository **repo,
			 omb_error *err)
{
	uint32_t claim;

	if (omb_repository_open_at(job->repository, job->key_file, NULL, repo,
							   err) != OMB_OK)
		return err->status;
	if (changes && omb_claim_check(*repo, job->pgdata, job->system_identifier,
								   &claim, err) != OMB_OK)
	{
		omb_repository_free(*repo);
		*repo = NULL;
	}
	return err->status;
}

void
omb_job_done(void)
{
	omb_agent_begin("done");
	omb_agent_end();
}
