/*
 * test_claim.c: the first claim of a repository, by several at once.
 */
#include "test/tap.h"
#include "test/repository.h"

#include "base/buffer.h"
#include "repo/claim.h"
#include "store/directory.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 20
#define CLAIMANTS 6

static omb_repository *
make_repository(const char *path)
{
	if (mkdir(path, 0700) != 0)
		abort();
	return new_repository(omb_store_directory_new(path));
}

/* A process that claims as soon as the pipe is closed. */
static pid_t
start_claimant(const char *path, const char *pgdata, const int go[2])
{
	omb_error err = OMB_ERROR_INIT;
	omb_repository *repo;
	uint32_t number;
	char byte;
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	(void) close(go[1]);
	if (omb_repository_open_at(path, NULL, NULL, &repo, &err) != OMB_OK ||
		read(go[0], &byte, 1) != 0)
		_exit(2);
	_exit(omb_claim_check(repo, pgdata, 1, &number, &err) == OMB_OK &&
				  number == 1 ?
			  0 :
			  1);
}

/* How many of those that claim at once fail. */
static int
race(const char *path, const char *pgdata)
{
	pid_t pid[CLAIMANTS];
	int go[2];
	int failed = 0;
	int status, i;

	if (pipe(go) != 0)
		abort();
	for (i = 0; i < CLAIMANTS; i++)
		pid[i] = start_claimant(path, pgdata, go);
	(void) close(go[0]);
	(void) close(go[1]);
	for (i = 0; i < CLAIMANTS; i++)
	{
		if (waitpid(pid[i], &status, 0) != pid[i] || status != 0)
			failed++;
	}
	return failed;
}

int
main(void)
{
	char root[] = "/tmp/omb-claim-XXXXXX";
	omb_error err = OMB_ERROR_INIT;
	char *command;
	int failed = 0;
	int refused = 0;
	int i;

	if (mkdtemp(root) == NULL)
		abort();
	for (i = 0; i < ROUNDS; i++)
	{
		char *path = omb_format("%s/repository%d", root, i);
		char *pgdata = omb_format("%s/data%d", root, i);
		omb_repository *repo = make_repository(path);
		uint32_t number;

		if (mkdir(pgdata, 0700) != 0)
			abort();
		failed += race(path, pgdata);
		if (omb_claim_check(repo, pgdata, 1, &number, &err) != OMB_OK)
			refused++;
		omb_error_clear(&err);
		omb_repository_free(repo);
		free(pgdata);
		free(path);
	}
	is_u64((uint64_t) failed, 0,
		   "archiver and backup of one server may claim at once");
	is_u64((uint64_t) refused, 0, "and the claim is that server's");
	command = omb_format("rm -rf %s", root);
	ok(system(command) == 0, "clean up");
	free(command);
	return tap_done();
}
