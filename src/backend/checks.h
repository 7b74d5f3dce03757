/*
 * checks.h: what functions check before they act.
 */
#ifndef OMB_BACKEND_CHECKS_H
#define OMB_BACKEND_CHECKS_H

/* The version of the SQL objects that this library works with. */
#define OMB_SQL_VERSION "1.2"

/* Labels go into a file of lines. */
extern void omb_check_label(const char *label);

/*
 * Refuse to act when the SQL objects of this database are of another version
 * than the library; inside a transaction.
 */
extern void omb_check_version(void);
/* The same for a version that is known. */
extern void omb_check_sql_version(const char *version);

/*
 * Refuse unless the server archives WAL with us into a repository: what is
 * done without that could not be restored.
 */
extern void omb_check_ready(void);
/* Refuse when we were not loaded at server start. */
extern void omb_check_preloaded(void);
/* Refuse when no repository is set. */
extern void omb_check_repository(void);

#endif
