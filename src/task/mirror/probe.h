/*
 * probe.h: does a store do what a copy of a repository needs of it?
 *
 * Each operation is tried on objects of its own, probe/<random>, which are
 * removed again.
 */
#ifndef OMB_TASK_PROBE_H
#define OMB_TASK_PROBE_H

#include "store/store.h"

typedef enum omb_probe_result
{
	OMB_PROBE_OK,
	OMB_PROBE_WARNING, /* it works, but something is weaker than usual */
	OMB_PROBE_ERROR,
	OMB_PROBE_SKIPPED /* what it needs failed before */
} omb_probe_result;

typedef struct omb_probe_row
{
	const char *operation;
	omb_probe_result result;
	const char *found;
	const char *hint; /* "" when there is nothing to do */
} omb_probe_row;

typedef struct omb_probe_config
{
	const char *url;
	const char *credentials; /* file, or NULL */
	void (*row)(const omb_probe_row *row, void *arg);
	void *arg;
} omb_probe_config;

/*
 * Try all operations and tell a row of each. Errors are rows, too: the number
 * of those is returned.
 */
extern int omb_probe(const omb_probe_config *config);
/* The same with a store that is open; credentials do not matter. */
extern int omb_probe_store(const omb_probe_config *config, omb_store *store);

/* "ok", "warning", "error", "skipped" */
extern const char *omb_probe_word(omb_probe_result result);

/*
 * The least permissions that a cloud has to give, for S3 as a policy in JSON, in
 * new memory; NULL when the URL is none of a cloud.
 */
extern char *omb_probe_policy(const char *url);

/*
 * A rule in JSON by which a bucket of S3 that keeps versions ends those that
 * were removed, after 30 days; in new memory, NULL when the URL is none.
 */
extern char *omb_probe_lifecycle(const char *url);

#endif
