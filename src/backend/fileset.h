/*
 * fileset.h: the table backup_file_set, and the sets in shared memory.
 *
 * The worker that takes a backup has no database. So the scheduler reads the
 * table, and the launcher lets a backup wait until the last change was read.
 */
#ifndef OMB_BACKEND_FILESET_H
#define OMB_BACKEND_FILESET_H

/* The program has the same limits (task/backup/filewalk.h, base/glob.h). */
#define OMB_FILE_SETS 16
#define OMB_FILE_SET_NAME 64
#define OMB_FILE_SET_PATH 1024
#define OMB_FILE_EXCLUDES 48
#define OMB_FILE_EXCLUDE 256
#define OMB_FILE_EXCLUDE_BYTES 4096 /* of a set, together */

/* One enabled set, in UTF-8. */
typedef struct OmbFileSet
{
	char name[OMB_FILE_SET_NAME];
	char path[OMB_FILE_SET_PATH];
	int exclude_count;
	char exclude[OMB_FILE_EXCLUDE_BYTES]; /* one behind the other */
} OmbFileSet;

typedef struct OmbFileSets
{
	bool known; /* read since the server started */
	int count;
	OmbFileSet set[OMB_FILE_SETS];
} OmbFileSets;

/* Read the enabled sets; inside a transaction, with SPI; schema is quoted. */
extern OmbFileSets *omb_file_sets_read(const char *schema);
/* Put them into shared memory, and take a copy from there. */
extern void omb_file_sets_put(const OmbFileSets *sets);
extern OmbFileSets *omb_file_sets_get(void);

/* In a job's line: how many sets follow; and then their lines. */
extern void omb_file_sets_announce(const OmbFileSets *sets);
extern void omb_file_sets_send(const OmbFileSets *sets, void (*send)(void));

#endif
