/*
 * s3.h: a store in a bucket of Amazon S3 or of a server that speaks as it
 * does. An object of the store is the object prefix + name of the bucket.
 *
 * How the promises of store/store.h are kept:
 *
 *  - an upload is a single PUT, or a multipart upload when it has more than
 *    part_size bytes; both appear at once and whole. The server checks the
 *    SHA-256 of everything it gets.
 *  - both are asked to create only (If-None-Match: *). Where a server does not
 *    know that, the object is looked for before, and two who create the same
 *    name in the same instant are not kept apart. Each upload carries a random
 *    mark, by which one whose answer was lost knows its own.
 *  - absent is said only when the server says that there is no such key.
 *
 * The lock: a bucket has none that ends with the process. A shared lock is
 * nothing but a note in this process. An exclusive one is refused, unless the
 * caller says that it sees to it by other means that no other process uses
 * the store meanwhile (the mirror of a repository does, by holding the
 * repository's own lock); then it excludes the other locks of this omb_store.
 */
#ifndef OMB_STORE_S3_H
#define OMB_STORE_S3_H

#include "store/store.h"

typedef enum omb_s3_style
{
	OMB_S3_STYLE_AUTO,	 /* virtual host at Amazon, path elsewhere */
	OMB_S3_STYLE_PATH,	 /* https://endpoint/bucket/key */
	OMB_S3_STYLE_VIRTUAL /* https://bucket.endpoint/key */
} omb_s3_style;

/* NULL and 0 are the defaults. All is copied. */
typedef struct omb_s3_config
{
	const char *bucket;	  /* required */
	const char *prefix;	  /* without slashes at its ends; NULL for none */
	const char *endpoint; /* "https://host[:port]"; NULL for Amazon's */
	const char *region;	  /* us-east-1; learned when it is another */
	omb_s3_style style;	  /* */
	const char *credentials_file; /* NULL for the environment */
	const char *ca_file;		  /* NULL for the system's authorities */
	const char *proxy;			  /* NULL for the environment's */
	const char *storage_class;	  /* STANDARD_IA, ..; NULL for the bucket's */
	const char *encryption;		  /* AES256, aws:kms; NULL for the bucket's */
	const char *kms_key_id;		  /* with aws:kms */
	bool sole_user;				  /* see above */
	uint64_t part_size;			  /* 8 MiB; at least 5 MiB */
	uint32_t connect_seconds;	  /* 10 */
	uint32_t stall_seconds;		  /* 60 */
	uint32_t tries;				  /* 8 */
	uint32_t retry_first;		  /* milliseconds; 200 */
	uint32_t retry_seconds;		  /* 120 */
	int64_t clock_offset; /* seconds to add to this machine's clock, as far
								* as known; else it is learned */
	bool (*cancelled)(void *arg); /* asked now and then; NULL */
	void *arg;
} omb_s3_config;

/* Asks nothing of the server; fails when the description makes no sense. */
extern omb_status omb_store_s3_new(const omb_s3_config *config,
								   omb_store **store, omb_error *err);

#endif
