/*
 * cmd_agent.c: the command that a server starts, and gives a job.
 */
#include "program/agent.h"
#include "program/commands.h"
#include "program/jobs.h"
#include "program/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
omb_command_agent(int argc, char **argv)
{
	static const struct
	{
		const char *type;
		omb_status (*run)(const omb_job *job, omb_error *err);
	} types[] = {
		{ "backup", omb_job_backup },	{ "files", omb_job_files },
		{ "archive", omb_job_archive }, { "list", omb_job_list },
		{ "adopt", omb_job_adopt },		{ "expire", omb_job_expire },
		{ "pin", omb_job_pin },			{ "unpin", omb_job_unpin },
		{ "survey", omb_job_survey },	{ "confirm", omb_job_confirm },
		{ "gap", omb_job_gap },			{ "verify", omb_job_verify },
		{ "mirror", omb_job_mirror },	{ "probe", omb_job_probe },
		{ "notes", omb_job_notes },		{ "watermarks", omb_job_watermarks },
		{ "marks", omb_job_marks }
	};
	omb_job job;
	omb_error err = OMB_ERROR_INIT;
	const char *type;
	size_t i;

	if (argc > 1 || isatty(STDIN_FILENO) == 1)
	{
		(void) fprintf(stderr, "omsupply_backup: \"agent\" is started by the "
							   "server, not by people\n");
		return OMB_EXIT_USAGE;
	}
	memset(&job, 0, sizeof(job));
	omb_agent_start();
	if (omb_job_receive(&job, &err) == OMB_OK)
	{
		type = omb_job_text(&job, "type");
		/* an archiver that falls behind a busy server fills its disk */
		if (strcmp(type, "archive") != 0)
			omb_agent_step_aside();
		for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		{
			if (strcmp(type, types[i].type) == 0)
				break;
		}
		if (i < sizeof(types) / sizeof(types[0]))
			(void) types[i].run(&job, &err);
		else
			(void) omb_error_set(&err, OMB_UNSUPPORTED,
								 "job type \"%s\" is not supported", type);
	}
	free(job.line);
	if (err.status == OMB_OK)
		return OMB_EXIT_DONE;
	omb_agent_begin("error");
	omb_agent_error_fields(&err);
	omb_agent_end();
	return OMB_EXIT_FAILED;
}
