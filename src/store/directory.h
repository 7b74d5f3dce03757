/*
 * directory.h: a store in a directory of a file system.
 */
#ifndef OMB_STORE_DIRECTORY_H
#define OMB_STORE_DIRECTORY_H

#include "store/store.h"

/* The directory need not exist until something is written. */
extern omb_store *omb_store_directory_new(const char *path);

#endif
