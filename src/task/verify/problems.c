/*
 * problems.c: what is wrong with a repository, and what that means.
 */
#include "task/verify/problems.h"

#include <stdlib.h>
#include <string.h>

omb_problem *
omb_problems_add(omb_problems *problems, omb_problem_kind kind,
				 const char *object, const omb_error *err)
{
	omb_problem *problem;
	size_t i;

	for (i = 0; i < problems->count; i++)
	{
		if (problems->item[i].kind == kind &&
			strcmp(problems->item[i].object, object) == 0)
			return NULL;
	}
	problems->total++;
	if (problems->count == OMB_PROBLEMS_MAX)
		return NULL;
	problems->item =
		omb_realloc(problems->item, (problems->count + 1) * sizeof(*problem));
	problem = &problems->item[problems->count++];
	memset(problem, 0, sizeof(*problem));
	problem->kind = kind;
	problem->missing = err->status == OMB_NOT_FOUND;
	problem->object = omb_strdup(object);
	problem->message = omb_strdup(err->message);
	return problem;
}

void
omb_problem_add_backup(omb_problem *problem, const char *id)
{
	if (problem->backup_count > 0 &&
		strcmp(problem->backup[problem->backup_count - 1], id) == 0)
		return;
	problem->backup =
		omb_realloc(problem->backup,
					(problem->backup_count + 1) * sizeof(*problem->backup));
	problem->backup[problem->backup_count++] = omb_strdup(id);
}

void
omb_problem_add_file(omb_problem *problem, const char *path)
{
	size_t i;

	for (i = 0; i < problem->file_count; i++)
	{
		if (strcmp(problem->file[i], path) == 0)
			return;
	}
	problem->files_total++;
	if (problem->file_count < OMB_PROBLEM_FILES)
		problem->file[problem->file_count++] = omb_strdup(path);
}

omb_problem *
omb_problems_find_pack(const omb_problems *problems, const uint8_t *sha256)
{
	size_t i;

	for (i = 0; i < problems->count; i++)
	{
		if (problems->item[i].kind == OMB_PROBLEM_PACK &&
			!problems->item[i].repaired &&
			memcmp(problems->item[i].sha256, sha256, OMB_SHA256_SIZE) == 0)
			return &problems->item[i];
	}
	return NULL;
}

bool
omb_problems_has_wal(const omb_problems *problems,
					 const omb_wal_object *object)
{
	size_t i;

	for (i = 0; i < problems->count; i++)
	{
		const omb_problem *problem = &problems->item[i];

		if (problem->kind == OMB_PROBLEM_WAL && !problem->repaired &&
			strcmp(problem->wal.file, object->file) == 0 &&
			strcmp(problem->wal.id, object->id) == 0)
			return true;
	}
	return false;
}

uint64_t
omb_problems_left(const omb_problems *problems)
{
	uint64_t left = problems->total;
	size_t i;

	for (i = 0; i < problems->count; i++)
		left -= problems->item[i].repaired ? 1 : 0;
	return left;
}

void
omb_problems_clear(omb_problems *problems)
{
	size_t i, j;

	for (i = 0; i < problems->count; i++)
	{
		omb_problem *problem = &problems->item[i];

		for (j = 0; j < problem->backup_count; j++)
			free(problem->backup[j]);
		for (j = 0; j < problem->file_count; j++)
			free(problem->file[j]);
		free(problem->backup);
		free(problem->object);
		free(problem->message);
		free(problem->source);
	}
	free(problems->item);
	memset(problems, 0, sizeof(*problems));
}
