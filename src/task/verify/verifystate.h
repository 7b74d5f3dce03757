/*
 * verifystate.h: what the parts of verifying share.
 */
#ifndef OMB_TASK_VERIFYSTATE_H
#define OMB_TASK_VERIFYSTATE_H

#include "base/pipeline.h"
#include "task/verify/verify.h"

#define OMB_TRAILERS_KEPT 64

/* A pack that is in the store. */
typedef struct omb_stored_pack
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t size;
	bool wanted;
} omb_stored_pack;

/* A pack's blobs by its trailer. */
typedef struct omb_trailer
{
	uint8_t sha256[OMB_SHA256_SIZE];
	uint64_t used;
	bool good;
	omb_error error;
	uint32_t count;
	omb_blob_ref *blob;
} omb_trailer;

typedef struct omb_verify_state
{
	const omb_verify_config *config;
	omb_verify_result *result;
	omb_pipeline *pipe;
	omb_coder **coder; /* one for each worker */
	int64_t deadline;  /* of what is being done; 0 is none */
	int64_t last_deadline;

	omb_stored_pack *pack; /* by name */
	size_t pack_count;
	size_t pack_cap;

	omb_coder *main_coder;
	omb_trailer trailers[OMB_TRAILERS_KEPT];
	uint64_t clock;
} omb_verify_state;

/* Report and note a problem; NULL when it is known already. */
extern omb_problem *omb_verify_report(omb_verify_state *v,
									  omb_problem_kind kind,
									  const char *object,
									  const omb_error *problem);
extern void omb_verify_report_pack(omb_verify_state *v, const uint8_t *sha256,
								   const omb_error *problem);
extern bool omb_verify_expired(const omb_verify_state *v);

/* A pack that is there, or NULL. */
extern omb_stored_pack *omb_verify_find_pack(const omb_verify_state *v,
											 const uint8_t *sha256);

/*
 * Check one backup but for the contents of its packs and WAL. The manifest
 * must be one that was just opened.
 */
extern omb_status omb_verify_manifest(omb_verify_state *v,
									  omb_manifest *manifest, omb_error *err);
extern void omb_verify_trailers_free(omb_verify_state *v);

#endif
