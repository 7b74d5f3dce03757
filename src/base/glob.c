/*
 * glob.c: shell patterns for paths.
 *
 * A pattern is cut into tokens. While the path is read byte by byte, the set
 * of tokens that may come next is kept: no pattern takes long.
 */
#include "base/glob.h"

#include <stddef.h>
#include <string.h>

typedef enum token_kind
{
	TOKEN_BYTE,
	TOKEN_ANY,		  /* ? */
	TOKEN_SET,		  /* [..] */
	TOKEN_STAR,		  /* * */
	TOKEN_ALL,		  /* ** */
	TOKEN_DIRECTORIES /* ** and a slash */
} token_kind;

typedef struct token
{
	token_kind kind;
	unsigned char byte;
	const char *set; /* behind the bracket; its end is at set_end */
	const char *set_end;
} token;

/* The end of a set, at its bracket; NULL when it has none. */
static const char *
end_of_set(const char *p)
{
	const char *start;

	if (*p == '!' || *p == '^')
		p++;
	start = p;
	while (*p != '\0' && (*p != ']' || p == start))
		p += p[0] == '\\' && p[1] != '\0' ? 2 : 1;
	return *p == ']' ? p : NULL;
}

/* Cut a pattern; the number of tokens, or -1. */
static int
cut(const char *p, token out[OMB_GLOB_MAX])
{
	int count = 0;
	const char *begin = p;

	if (*p == '\0' || strlen(p) > OMB_GLOB_MAX)
		return -1;
	while (*p != '\0')
	{
		token *t = &out[count++];

		memset(t, 0, sizeof(*t));
		t->byte = (unsigned char) *p;
		if (p[0] == '*' && p[1] == '*')
		{
			bool whole = p == begin || p[-1] == '/';

			while (*p == '*')
				p++;
			t->kind = whole && *p == '/' ? TOKEN_DIRECTORIES : TOKEN_ALL;
			p += t->kind == TOKEN_DIRECTORIES ? 1 : 0;
			continue;
		}
		if (*p == '*')
			t->kind = TOKEN_STAR;
		else if (*p == '?')
			t->kind = TOKEN_ANY;
		else if (*p == '[')
		{
			t->kind = TOKEN_SET;
			t->set = p + 1;
			t->set_end = p = end_of_set(p + 1);
			if (p == NULL)
				return -1;
		}
		else if (*p == '\\')
		{
			if (*++p == '\0')
				return -1;
			t->byte = (unsigned char) *p;
		}
		p++;
	}
	return count;
}

static bool
in_set(const token *t, unsigned char c)
{
	const char *p = t->set;
	bool negated = *p == '!' || *p == '^';
	bool found = false;

	if (c == '/')
		return false;
	p += negated ? 1 : 0;
	while (p < t->set_end)
	{
		unsigned char from, to;

		p += p[0] == '\\' && p + 1 < t->set_end ? 1 : 0;
		from = to = (unsigned char) *p++;
		if (p + 1 < t->set_end && p[0] == '-')
		{
			p++;
			p += p[0] == '\\' && p + 1 < t->set_end ? 1 : 0;
			to = (unsigned char) *p++;
		}
		found = found || (from <= c && c <= to);
	}
	return found != negated;
}

/* Token i may come next; so may what follows it when it may be nothing. */
static void
reach(bool *state, const token *t, int count, int i)
{
	for (;;)
	{
		state[i] = true;
		if (i == count || (t[i].kind != TOKEN_STAR && t[i].kind != TOKEN_ALL &&
						   t[i].kind != TOKEN_DIRECTORIES))
			return;
		i++;
	}
}

bool
omb_glob_valid(const char *pattern)
{
	token tokens[OMB_GLOB_MAX];

	return cut(pattern, tokens) > 0;
}

bool
omb_glob_match(const char *pattern, const char *path)
{
	token t[OMB_GLOB_MAX];
	bool state[2][OMB_GLOB_MAX + 1];
	int count = cut(pattern, t);
	int now = 0;
	int i;

	if (count <= 0)
		return false;
	memset(state, 0, sizeof(state));
	reach(state[0], t, count, 0);
	for (; *path != '\0'; path++)
	{
		unsigned char c = (unsigned char) *path;
		bool *from = state[now];
		bool *to = state[1 - now];

		memset(to, 0, sizeof(state[0]));
		for (i = 0; i < count; i++)
		{
			if (!from[i])
				continue;
			switch (t[i].kind)
			{
				case TOKEN_BYTE:
					if (c == t[i].byte)
						reach(to, t, count, i + 1);
					break;
				case TOKEN_ANY:
					if (c != '/')
						reach(to, t, count, i + 1);
					break;
				case TOKEN_SET:
					if (in_set(&t[i], c))
						reach(to, t, count, i + 1);
					break;
				case TOKEN_STAR:
					if (c != '/')
						reach(to, t, count, i);
					break;
				case TOKEN_ALL:
					reach(to, t, count, i);
					break;
				case TOKEN_DIRECTORIES:
					/* what follows begins behind a slash only */
					if (c == '/')
						reach(to, t, count, i);
					else
						to[i] = true;
					break;
			}
		}
		now = 1 - now;
	}
	return state[now][count];
}
