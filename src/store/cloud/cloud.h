/*
 * cloud.h: a store in a bucket or container of a cloud provider. An object of
 * the store is the object prefix + name there.
 *
 * How the promises of store/store.h are kept:
 *
 *  - an upload is a single request, or one in parts when it is large; both
 *    appear at once and whole, and the server checks what it gets.
 *  - both are asked to create only. Each upload carries a random mark, by
 *    which one whose answer was lost knows its own.
 *  - absent is said only when the server says that there is no such object.
 *
 * The lock: there is none that ends with the process. A shared lock is
 * nothing but a note in this process. An exclusive one is refused, unless the
 * caller says that it sees to it by other means that no other process uses
 * the store meanwhile (the mirror of a repository does, by holding the
 * repository's own lock); then it excludes the other locks of this omb_store.
 */
#ifndef OMB_STORE_CLOUD_H
#define OMB_STORE_CLOUD_H

#include "store/cloud/cloudclient.h"

/* The store takes the client over. */
extern omb_store *omb_store_cloud_new(omb_cloud_client *client);

#endif
