/*
 * recoveryconf.c: the settings with which a restored server recovers.
 */
#include "task/restore/recoveryconf.h"

#include "base/file.h"
#include "base/text.h"
#include "pgfmt/lsn.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define AUTO_CONF_MAX (16 * 1024 * 1024)

/*
 * Two recovery targets at once are an error for the server, so all are set:
 * those not wanted to the empty text, which means none and also undoes a
 * setting in postgresql.conf. They come first: in its place in the file an
 * empty target takes back one that was set before it.
 */
static const char *const names[] = {
	"restore_command",		   "recovery_target",
	"recovery_target_time",	   "recovery_target_lsn",
	"recovery_target_xid",	   "recovery_target_name",
	"recovery_target_action",  "recovery_target_inclusive",
	"recovery_target_timeline"
};
#define NAME_COUNT (sizeof(names) / sizeof(names[0]))

/* Quote for a shell: 'text', with '\'' for a quote in it. */
static void
put_shell(omb_buf *out, const char *text)
{
	omb_buf_put_u8(out, '\'');
	for (; *text; text++)
	{
		if (*text == '\'')
			omb_buf_printf(out, "'\\''");
		else if (*text == '%')
			/* the server takes % for a placeholder */
			omb_buf_printf(out, "%%%%");
		else
			omb_buf_put(out, text, 1);
	}
	omb_buf_put_u8(out, '\'');
}

/* The command that fetches WAL, in new memory. */
static char *
restore_command(const omb_recovery_settings *settings)
{
	omb_buf out = OMB_BUF_INIT;

	put_shell(&out, settings->program);
	omb_buf_printf(&out, " wal-get --repository ");
	put_shell(&out, settings->repository);
	if (settings->credentials != NULL)
	{
		omb_buf_printf(&out, " --credentials ");
		put_shell(&out, settings->credentials);
	}
	if (settings->key_file != NULL)
	{
		omb_buf_printf(&out, " --key-file ");
		put_shell(&out, settings->key_file);
	}
	if (settings->last_segment[0] != '\0')
		omb_buf_printf(&out, " --last-needed %s", settings->last_segment);
	omb_buf_printf(&out, " \"%%f\" \"%%p\"");
	return omb_buf_text(&out);
}

/* name = 'value', quoted for a configuration file. */
static void
put_setting(omb_buf *out, const char *name, const char *value)
{
	omb_buf_printf(out, "%s = '", name);
	for (; *value; value++)
	{
		if (*value == '\'' || *value == '\\')
			omb_buf_put(out, value, 1);
		omb_buf_put(out, value, 1);
	}
	omb_buf_printf(out, "'\n");
}

/* The value of a setting; in new memory. */
static char *
value_of(const omb_recovery_settings *settings, const char *name)
{
	const omb_target *target = settings->target;
	char text[OMB_TIME_TEXT];

	if (strcmp(name, "restore_command") == 0)
		return restore_command(settings);
	if (strcmp(name, "recovery_target_action") == 0)
		return omb_strdup(settings->target_action);
	if (strcmp(name, "recovery_target_inclusive") == 0)
		return omb_strdup("on");
	if (strcmp(name, "recovery_target_timeline") == 0)
		return omb_format("%u", settings->timeline);
	if (strcmp(name, "recovery_target") == 0)
		return omb_strdup(target->kind == OMB_TARGET_IMMEDIATE ? "immediate" :
																 "");
	if (strcmp(name, "recovery_target_time") == 0 &&
		target->kind == OMB_TARGET_TIME)
		return omb_strdup(omb_time_format(target->time, text));
	if (strcmp(name, "recovery_target_lsn") == 0 &&
		target->kind == OMB_TARGET_LSN)
		return omb_strdup(omb_lsn_format(target->lsn, text));
	if (strcmp(name, "recovery_target_xid") == 0 &&
		target->kind == OMB_TARGET_XID)
		return omb_format("%u", target->xid);
	if (strcmp(name, "recovery_target_name") == 0 &&
		target->kind == OMB_TARGET_NAME)
		return omb_strdup(target->name);
	return omb_strdup("");
}

/* Does a line set one of our names? */
static bool
sets_ours(const char *line, size_t len)
{
	size_t start = 0;
	size_t end, i;

	while (start < len && (line[start] == ' ' || line[start] == '\t'))
		start++;
	for (end = start; end < len && line[end] != ' ' && line[end] != '\t' &&
					  line[end] != '=';
		 end++)
		;
	for (i = 0; i < NAME_COUNT; i++)
	{
		if (strlen(names[i]) == end - start &&
			strncasecmp(names[i], line + start, end - start) == 0)
			return true;
	}
	return false;
}

/* Copy the old content without the lines that set our names. */
static void
keep_others(const omb_buf *old, omb_buf *out)
{
	size_t at = 0;

	while (at < old->len)
	{
		const uint8_t *newline = memchr(old->data + at, '\n', old->len - at);
		size_t len =
			newline ? (size_t) (newline - (old->data + at)) : old->len - at;

		if (!sets_ours((const char *) old->data + at, len))
		{
			omb_buf_put(out, old->data + at, len);
			omb_buf_put_u8(out, '\n');
		}
		at += len + 1;
	}
}

/* Those settings whose value is empty, or the others. */
static void
put_settings(omb_buf *out, const omb_recovery_settings *settings, bool empty)
{
	size_t i;

	for (i = 0; i < NAME_COUNT; i++)
	{
		char *value = value_of(settings, names[i]);

		if ((value[0] == '\0') == empty)
			put_setting(out, names[i], value);
		free(value);
	}
}

omb_status
omb_recovery_settings_write(const char *pgdata,
							const omb_recovery_settings *settings,
							omb_error *err)
{
	char *path = omb_format("%s/postgresql.auto.conf", pgdata);
	char *signal_path = omb_format("%s/recovery.signal", pgdata);
	omb_buf old = OMB_BUF_INIT;
	omb_buf conf = OMB_BUF_INIT;

	if (omb_file_read(path, AUTO_CONF_MAX, &old, err) == OMB_NOT_FOUND)
		omb_error_clear(err);
	if (err->status == OMB_OK)
	{
		keep_others(&old, &conf);
		omb_buf_printf(&conf, "# written by omsupply_backup restore\n");
		put_settings(&conf, settings, true);
		put_settings(&conf, settings, false);
		if (omb_file_replace(path, conf.data, conf.len, 0600, err) == OMB_OK)
			(void) omb_file_replace(signal_path, "", 0, 0600, err);
	}
	omb_buf_free(&old);
	omb_buf_free(&conf);
	free(signal_path);
	free(path);
	return err->status;
}
