/*
 * showverify.h: what verify found, as text or JSON.
 */
#ifndef OMB_PROGRAM_SHOWVERIFY_H
#define OMB_PROGRAM_SHOWVERIFY_H

#include "base/json.h"
#include "task/verify/impact.h"
#include "task/verify/verify.h"

/* What each problem means, and how it was or would be repaired. */
extern void omb_show_damage(const omb_problems *problems, bool repair,
							omb_json *json);
/* What was read, of how much. */
extern void omb_show_coverage(const omb_verify_config *config,
							  const omb_verify_result *result, omb_json *json);
/* What can still be restored. */
extern void omb_show_restorable(const omb_impact *impact, omb_json *json);

#endif
