/*
 * s3explain.h: what an error of an S3 server means, and what to do.
 */
#ifndef OMB_STORE_S3EXPLAIN_H
#define OMB_STORE_S3EXPLAIN_H

#include "store/cloud/cloudclient.h"

/* As omb_cloud_provider.explain. */
extern void omb_s3_explain(const omb_cloud_call *call,
						   const omb_cloud_answer *answer, omb_error *err);

/* The right that a call needs, "s3:GetObject on the objects". Pure. */
extern const char *omb_s3_right(const omb_cloud_call *call);

#endif
