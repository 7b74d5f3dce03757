/*
 * relfile.c: names of relation files and of the directories they live in.
 */
#include "pgfmt/relfile.h"

#include <string.h>

/* A number from 1 to 2^32 - 1 without leading zeros; NULL when not there. */
static const char *
parse_number(const char *p, uint32_t *value)
{
	uint64_t wide = 0;

	if (*p < '1' || *p > '9')
		return NULL;
	for (; *p >= '0' && *p <= '9'; p++)
	{
		wide = wide * 10 + (uint64_t) (*p - '0');
		if (wide > UINT32_MAX)
			return NULL;
	}
	*value = (uint32_t) wide;
	return p;
}

bool
omb_relfile_parse(const char *name, omb_relfile *out)
{
	static const struct
	{
		const char *suffix;
		omb_fork fork;
	} forks[] = { { "_fsm", OMB_FORK_FSM },
				  { "_vm", OMB_FORK_VM },
				  { "_init", OMB_FORK_INIT } };
	const char *p = name;
	uint32_t backend;
	size_t i;

	memset(out, 0, sizeof(*out));
	if (*p == 't')
	{
		out->is_temporary = true;
		/* backend numbers begin at 0 from version 17 on */
		if (p[1] == '0')
			p += 2;
		else
			p = parse_number(p + 1, &backend);
		if (p == NULL || *p++ != '_')
			return false;
	}
	p = parse_number(p, &out->relnumber);
	if (p == NULL)
		return false;
	for (i = 0; i < sizeof(forks) / sizeof(forks[0]); i++)
	{
		size_t len = strlen(forks[i].suffix);

		if (strncmp(p, forks[i].suffix, len) == 0)
		{
			out->fork = forks[i].fork;
			p += len;
			break;
		}
	}
	if (*p == '.')
	{
		p = parse_number(p + 1, &out->segno);
		if (p == NULL)
			return false;
	}
	return *p == '\0';
}

bool
omb_relfile_directory(const char *path, uint32_t *tablespace,
					  uint32_t *database)
{
	const char *p;

	*tablespace = 0;
	*database = 0;
	if (strcmp(path, "global") == 0)
		return true;
	if (strncmp(path, "base/", 5) == 0)
	{
		p = parse_number(path + 5, database);
		return p != NULL && *p == '\0';
	}
	if (strncmp(path, "pg_tblspc/", 10) != 0)
		return false;
	p = parse_number(path + 10, tablespace);
	if (p == NULL || strncmp(p, "/PG_", 4) != 0)
		return false;
	p = strchr(p + 1, '/');
	if (p == NULL)
		return false;
	p = parse_number(p + 1, database);
	return p != NULL && *p == '\0';
}
