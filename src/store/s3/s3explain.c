/*
 * s3explain.c: what an error of an S3 server means, and what to do.
 */
#include "store/s3/s3explain.h"

#include "store/s3/s3lock.h"

#include <string.h>

/* Which right a request needs: by its method and by what its query has in it. */
typedef struct right
{
	const char *method;
	bool of_object;
	const char *query; /* "": whatever it is */
	const char *name;
} right;

const char *
omb_s3_right(const omb_cloud_call *call)
{
	static const right rights[] = {
		{ "GET", true, "retention=", "s3:GetObjectRetention on the objects" },
		{ "PUT", true, "retention=", "s3:PutObjectRetention on the objects" },
		{ "GET", true,
		  "uploadId=", "s3:ListMultipartUploadParts on the objects" },
		{ "DELETE", true,
		  "uploadId=", "s3:AbortMultipartUpload on the objects" },
		{ "PUT", true, "", "s3:PutObject on the objects" },
		{ "POST", true, "", "s3:PutObject on the objects" },
		{ "DELETE", true, "", "s3:DeleteObject on the objects" },
		{ "POST", false, "delete=", "s3:DeleteObject on the objects" },
		{ "GET", false, "list-type=", "s3:ListBucket on the bucket" },
		{ "GET", false,
		  "uploads=", "s3:ListBucketMultipartUploads on the bucket" },
		{ "GET", false, "object-lock=",
		  "s3:GetBucketObjectLockConfiguration on the bucket" },
		{ "GET", false,
		  "versioning=", "s3:GetBucketVersioning on the bucket" },
		/* without the second, what is not there is forbidden, too */
		{ "GET", true, "",
		  "s3:GetObject on the objects, and s3:ListBucket on the bucket" },
		{ "HEAD", true, "",
		  "s3:GetObject on the objects, and s3:ListBucket on the bucket" },
	};
	const char *query = call->query != NULL ? call->query : "";
	size_t i;

	if (strcmp(query, "retention=") != 0 && omb_s3_lock_is_asked(call))
		return "s3:PutObject and s3:PutObjectRetention on the objects";
	for (i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
	{
		if (strcmp(call->method, rights[i].method) == 0 &&
			(call->name != NULL) == rights[i].of_object &&
			strstr(query, rights[i].query) != NULL)
			return rights[i].name;
	}
	return "more rights";
}

void
omb_s3_explain(const omb_cloud_call *call, const omb_cloud_answer *answer,
			   omb_error *err)
{
	static const char *const bad_key[] = { "InvalidAccessKeyId",
										   "SignatureDoesNotMatch",
										   "ExpiredToken",
										   "InvalidToken",
										   "TokenRefreshRequired",
										   "InvalidClientTokenId",
										   NULL };
	static const char *const full[] = { "QuotaExceeded",
										"InsufficientCapacity",
										"XMinioStorageFull", NULL };
	static const char *const no_lock[] = {
		"InvalidRequest",	  "ObjectLockConfigurationNotFoundError",
		"InvalidBucketState", "NotImplemented",
		"MethodNotAllowed",	  NULL
	};
	const char *code = answer->error.code;

	if (omb_cloud_is_code(answer, full))
		err->status = OMB_NO_SPACE;
	if (omb_cloud_is_code(answer, bad_key))
		omb_error_hint(err, "Check the access key in the credentials file or "
							"in the environment, and whether it has expired.");
	else if (strcmp(code, "NoSuchBucket") == 0)
		omb_error_hint(err, "Check the name of the bucket, or create it.");
	else if (strcmp(code, "RequestTimeTooSkewed") == 0)
		omb_error_hint(err, "Set this machine's clock.");
	else if (answer->http.status == 403)
		omb_error_hint(err, "The key needs %s.", omb_s3_right(call));
	else if (omb_s3_lock_is_asked(call) && omb_cloud_is_code(answer, no_lock))
	{
		err->status = OMB_UNSUPPORTED;
		omb_error_hint(err, "Objects can be locked only in a bucket that has "
							"object lock enabled. Enable it, take another "
							"bucket, or leave object-lock and lock-days out "
							"of the URL.");
	}
	else if (answer->http.status / 100 == 3)
		omb_error_hint(err, "Check endpoint, region and style of the target.");
}
