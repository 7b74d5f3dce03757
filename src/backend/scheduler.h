/*
 * scheduler.h: the worker that reads the schedules and writes the history.
 */
#ifndef OMB_BACKEND_SCHEDULER_H
#define OMB_BACKEND_SCHEDULER_H

/* Set up a worker that has just connected to omsupply_backup.database. */
extern void omb_scheduler_prepare(void);

/*
 * The schema of the extension in this database; inside a transaction, with
 * SPI connected. An error is raised when it is absent or of another version.
 */
extern char *omb_scheduler_schema(void);

/* Run the checks, as the job "check" of a worker with a database. */
extern void omb_scheduler_check(void);

#endif
