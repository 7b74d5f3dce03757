/*
 * process.h: other programs as children, and a child that is watched over.
 */
#ifndef OMB_BASE_PROCESS_H
#define OMB_BASE_PROCESS_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct omb_process_config
{
	const char *const *argv; /* the program's path first; NULL at the end */
	const char *const *set;	 /* NAME=VALUE, NULL at the end; or NULL */
	bool without_pg; /* take all variables PG... out of its environment */
	int in;			 /* descriptors, -1 for nothing */
	int out;
	int err;
	int death_signal; /* that it gets when this process dies */
} omb_process_config;

extern omb_status omb_process_start(const omb_process_config *config,
									pid_t *pid, omb_error *err);

/* Wait for the end; true for exit status 0. how, in words, for the others. */
#define OMB_PROCESS_TEXT 64
extern bool omb_process_wait(pid_t pid, char how[OMB_PROCESS_TEXT]);

/*
 * Run a program to its end and take what it writes, at most a MiB. out and
 * err of the config are not used. *ok tells whether it exited with 0.
 */
extern omb_status omb_process_run(const omb_process_config *config,
								  omb_buf *out, omb_buf *messages, bool *ok,
								  omb_error *err);

/*
 * Do work(arg) in a child and return what it returned, its exit status. A
 * signal that asks this process to end kills the child; then, or when it died
 * of another, 128 and the signal's number is returned. Grandchildren whose
 * parents died become children of this process: omb_process_reap() waits for
 * them, at most so long.
 */
extern int omb_process_supervise(int (*work)(void *arg), void *arg);
extern void omb_process_reap(unsigned int milliseconds);

#endif
