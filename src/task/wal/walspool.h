/*
 * walspool.h: WAL segments fetched ahead of being asked for, in a directory.
 *
 * The spool is a directory omsupply_backup.spool, private to its owner:
 *
 *   <segment>-<id>.<boot>.<location>.<device>.<inode>.<size>.<mtime>
 *                            a whole segment
 *   <segment>-<id>.<location>.part
 *                            one that is being fetched
 *   asked                    the segment that was asked for last
 *
 * <id> is that of the object in the repository (repo/walobject.h), so that
 * what is in a spool serves no other repository and no other content. The
 * other names are facts of the file, in hex, of the instant when all its
 * bytes had been checked: a file that was cut, changed or copied since is not
 * taken, nor is one from before a restart of the machine, since spooled files
 * are not synced. <boot> is the kernel's random id of the time since it was
 * started, <location> a hash of where the repository was said to be.
 *
 * The process that fetches ahead holds a lock (flock) on the directory; only
 * who holds it removes things, but for a file that is taken. While it is held
 * the directory is served: what is in it was in the repository minutes ago.
 * Everybody may remove the directory by hand at any time.
 *
 * Functions here report no errors: a spool is an extra, and what does not
 * work is the same as nothing found.
 */
#ifndef OMB_TASK_WALSPOOL_H
#define OMB_TASK_WALSPOOL_H

#include "repo/walobject.h"

#define OMB_SPOOL_NAME "omsupply_backup.spool"
#define OMB_BOOT_ID_SIZE 36
#define OMB_SPOOL_LOCATION_SIZE 17

typedef struct omb_spool
{
	char *path;
	int dir;					 /* holds the lock too */
	char boot[OMB_BOOT_ID_SIZE]; /* 32 digits */
	char location[OMB_SPOOL_LOCATION_SIZE];
} omb_spool;

/*
 * Open the spool below a directory, for files from the repository at a
 * location, making it with create. False when there is none or it is not ours
 * alone.
 */
extern bool omb_spool_open(omb_spool *spool, const char *parent,
						   const char *location, bool create);
extern void omb_spool_close(omb_spool *spool);

/* Lock it, unless somebody else has; closing the spool unlocks it. */
extern bool omb_spool_lock(omb_spool *spool);
/* Does somebody else hold the lock? Not to be called while holding it. */
extern bool omb_spool_is_served(const omb_spool *spool);
/* The directory was removed, or replaced by another one. */
extern bool omb_spool_is_gone(const omb_spool *spool);

/* The segment that was asked for last; false when there is none. */
extern void omb_spool_ask(const omb_spool *spool, const char *file);
extern bool omb_spool_asked(const omb_spool *spool,
							char file[OMB_WAL_FILE_MAX + 1]);

/*
 * Move an object's file to path, replacing what is there. While another
 * process is writing that very file, wait for it until it has not grown for
 * so many seconds.
 */
extern bool omb_spool_take(const omb_spool *spool,
						   const omb_wal_object *object, const char *path,
						   int stuck_seconds);

/*
 * The object from which a segment's file in the spool was fetched, or is being
 * fetched. False when there is none to be taken, or several.
 */
extern bool omb_spool_find(const omb_spool *spool, const char *file,
						   omb_wal_object *object);

/* Is a file of that name there (not how good it is)? */
extern bool omb_spool_has(const omb_spool *spool, const char *file);

/* Begin a file, with the lock held: a descriptor, or -1. */
extern int omb_spool_begin(const omb_spool *spool,
						   const omb_wal_object *object);
/* Give a file that was checked its name; closes fd. */
extern bool omb_spool_commit(const omb_spool *spool,
							 const omb_wal_object *object, int fd);
/* Forget one that was begun; closes fd. */
extern void omb_spool_abort(const omb_spool *spool,
							const omb_wal_object *object, int fd);

/*
 * With the lock held, remove what need not stay: keep is asked for each WAL
 * file. Returns how many files stay, those being written among them.
 */
typedef bool (*omb_spool_keep)(const char *file, void *arg);
extern int omb_spool_tidy(const omb_spool *spool, omb_spool_keep keep,
						  void *arg);
/* With the lock held, remove all WAL files. */
extern void omb_spool_empty(const omb_spool *spool);
/* With the lock held, remove everything and the directory. */
extern void omb_spool_remove(const omb_spool *spool);

#endif
