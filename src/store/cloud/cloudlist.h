/*
 * cloudlist.h: listing what is in a cloud store.
 */
#ifndef OMB_STORE_CLOUDLIST_H
#define OMB_STORE_CLOUDLIST_H

#include "store/cloud/cloudclient.h"

typedef struct omb_cloud_lists omb_cloud_lists;

extern omb_cloud_lists *omb_cloud_lists_new(omb_cloud_client *client);
/* Waits for what was asked: the client should be stopped. */
extern void omb_cloud_lists_free(omb_cloud_lists *lists);

/* As omb_store_list. */
extern omb_status omb_cloud_list(omb_cloud_lists *lists, const char *folder,
								 bool recursive, omb_store_visit visit,
								 void *arg, omb_error *err);
/* As omb_store_expect_list. */
extern void omb_cloud_expect_list(omb_cloud_lists *lists, const char *folder,
								  bool recursive);
/* What was expected is not as it was: something is stored or removed. */
extern void omb_cloud_lists_forget(omb_cloud_lists *lists);

#endif
