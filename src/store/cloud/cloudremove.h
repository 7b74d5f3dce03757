/*
 * cloudremove.h: removing objects from a cloud store, one or many at once.
 */
#ifndef OMB_STORE_CLOUDREMOVE_H
#define OMB_STORE_CLOUDREMOVE_H

#include "store/cloud/cloudclient.h"

/* As the operations of a store. */
extern omb_status omb_cloud_remove(omb_cloud_client *client, const char *name,
								   omb_error *err);
extern omb_status omb_cloud_remove_many(omb_cloud_client *client,
										const char *const *name, size_t count,
										omb_store_removed removed, void *arg,
										omb_error *err);

#endif
