/*
 * watermark.h: measuring what is worth knowing after a disaster.
 */
#ifndef OMB_BACKEND_WATERMARK_H
#define OMB_BACKEND_WATERMARK_H

/* A step of the launcher; returns milliseconds to sleep at most. */
extern long omb_watermark_step(void);

/* Entry point of the worker. */
extern PGDLLEXPORT void omb_watermark_main(Datum arg);

#endif
