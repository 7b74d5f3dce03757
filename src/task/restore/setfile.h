/*
 * setfile.h: putting one file or link of a set in place, and finishing its
 * directories: what threads that restore files do, each for itself.
 */
#ifndef OMB_TASK_SETFILE_H
#define OMB_TASK_SETFILE_H

#include "repo/blobreader.h"
#include "repo/manifest.h"

/* Size of the name under which a file is written that replaces another. */
#define OMB_SET_TEMPORARY 32

/* What belongs to one thread. */
typedef struct omb_set_hand
{
	const char *root; /* the set's directory */
	int root_fd;
	bool delta;	  /* a file that is there and differs is replaced */
	char *parent; /* directory that is open, below root; or NULL */
	int parent_fd;
	omb_blob_reader *reader;
	uint8_t *buffer;
	char temporary[OMB_SET_TEMPORARY];
	/* results; the caller takes them and sets them to 0 */
	uint64_t bytes_written;
	uint64_t files_same; /* left alone */
} omb_set_hand;

/* Each of those that work at the same time has another number, from 0 on. */
extern void omb_set_hand_init(omb_set_hand *hand, omb_repository *repo,
							  int number);
extern void omb_set_hand_free(omb_set_hand *hand);
/* Remove from an open directory what a killed restore by hands has left. */
extern void omb_set_remove_temporary(int fd, int hands);
/* Close the directory that is open. */
extern void omb_set_hand_leave(omb_set_hand *hand);

/* The entry's path below its set's directory; "" for that itself. */
extern const char *omb_set_below(const omb_entry *entry);
/* Open the directory that the entry is in, unless it is. */
extern omb_status omb_set_enter(omb_set_hand *hand, const omb_entry *entry,
								omb_error *err);
/* Opening a directory failed, as errno tells. */
extern omb_status omb_set_no_directory(const omb_set_hand *hand,
									   const char *below, omb_error *err);

/* Place a file, or a link. */
extern omb_status omb_set_place_file(omb_set_hand *hand,
									 const omb_manifest *manifest,
									 const omb_entry *entry, omb_error *err);
extern omb_status omb_set_place_link(omb_set_hand *hand,
									 const omb_entry *entry, omb_error *err);

/*
 * The same in steps, for a large file that is not there: create it, write
 * extents of it, which several threads may do, and finish or abandon it.
 */
extern int omb_set_create(omb_set_hand *hand, const omb_entry *entry,
						  const char *name, omb_error *err);
/*
 * Write extents first..end - 1, which are from offset on; crc is that of all
 * of them.
 */
extern omb_status omb_set_write(omb_set_hand *hand,
								const omb_manifest *manifest,
								const omb_entry *entry, size_t first,
								size_t end, uint64_t offset, int fd,
								uint32_t *crc, omb_error *err);
/* Compare the CRC, set owner, mode and time, and close. */
extern omb_status omb_set_finish(const omb_set_hand *hand,
								 const omb_entry *entry, uint32_t crc, int fd,
								 omb_error *err);

/* Owner, mode and time of a directory in which all is in place. */
extern omb_status omb_set_finish_directory(const omb_set_hand *hand,
										   const char *below, uint32_t mode,
										   uint32_t uid, uint32_t gid,
										   uint64_t mtime, omb_error *err);

#endif
