/*
 * test_conninfo.c: connection strings and the database that they name.
 */
#include "test/tap.h"

#include "base/buffer.h"
#include "task/extract/conninfo.h"

#include <stdlib.h>

static const struct
{
	const char *text;
	const char *database; /* NULL: refused */
	const char *changed;  /* with the database a'b */
} cases[] = {
	{ "dbname=x", "x", "dbname=x dbname='a\\'b'" },
	{ " host = /tmp dbname = 'x y' ", "x y",
	  " host = /tmp dbname = 'x y'  dbname='a\\'b'" },
	{ "dbname='it\\'s' port=5", "it's",
	  "dbname='it\\'s' port=5 dbname='a\\'b'" },
	{ "dbname=a dbname=b", "b", "dbname=a dbname=b dbname='a\\'b'" },
	{ "host=x", NULL, NULL },
	{ "dbname='x", NULL, NULL },
	{ "dbname", NULL, NULL },
	{ "=x", NULL, NULL },
	{ "dbname=x password=y", NULL, NULL },
	{ "dbname=", NULL, NULL },
	{ "postgresql://h/x", "x", "postgresql://h/a%27b" },
	{ "postgres://u@h:1,i:2/x%20y?sslmode=require", "x y",
	  "postgres://u@h:1,i:2/a%27b?sslmode=require" },
	{ "postgresql:///x?host=/tmp", "x", "postgresql:///a%27b?host=/tmp" },
	{ "postgresql://u:secret@h/x", NULL, NULL },
	{ "postgresql://h/x?password=y", NULL, NULL },
	{ "postgresql://h/x?port=1&password=y", NULL, NULL },
	{ "postgresql://h/?dbname=y", NULL, NULL },
	{ "postgresql://h/%0", NULL, NULL },
	{ "postgresql://h/%00x", NULL, NULL },
	{ "postgresql://h/%zz", NULL, NULL },
	{ "postgresql://h", NULL, NULL },
	{ "postgresql://", NULL, NULL },
};

int
main(void)
{
	size_t i;

	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		omb_error err = OMB_ERROR_INIT;
		char *database = NULL;
		char *changed;

		(void) omb_conninfo_database(cases[i].text, &database, &err);
		if (cases[i].database == NULL)
		{
			ok(err.status == OMB_USAGE && database == NULL, "refused: %s",
			   cases[i].text);
			ok(strstr(err.message, "secret") == NULL, "and no secret is told");
			continue;
		}
		is_text(database ? database : "", cases[i].database, cases[i].text);
		changed = omb_conninfo_with(cases[i].text, "a'b");
		is_text(changed, cases[i].changed, "with another database");
		free(database);
		database = NULL;
		(void) omb_conninfo_database(changed, &database, &err);
		is_text(database ? database : "", "a'b", "which is found again");
		free(database);
		free(changed);
	}
	ok(omb_conninfo_is("postgres://x") && omb_conninfo_is("dbname=x") &&
		   !omb_conninfo_is("/tmp/a=b") && !omb_conninfo_is("./a=b") &&
		   !omb_conninfo_is("file.dump"),
	   "files and connections");
	return tap_done();
}
