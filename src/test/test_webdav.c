/*
 * test_webdav.c: what WebDAV servers answer, as they differ, and who is sent a
 * password.
 */
#include "test/tap.h"

#include "store/url.h"
#include "store/webdav/webdavxml.h"

#include <stdlib.h>

#define FILE_PROPS(size)                                                 \
	"<D:propstat><D:prop><D:resourcetype/><D:getcontentlength>" size     \
	"</D:getcontentlength></D:prop><D:status>HTTP/1.1 200 OK</D:status>" \
	"</D:propstat>"
#define FOLDER_PROPS                                                       \
	"<D:propstat><D:prop><D:resourcetype><D:collection/></D:resourcetype>" \
	"</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
#define ITEM(href, props) \
	"<D:response><D:href>" href "</D:href>" props "</D:response>"
#define ANSWER(items)                                               \
	"<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\">" items \
	"</D:multistatus>"

/* The items as a text: "path" or "path/", "size" of a file. */
static const char *
parsed(const char *text, const char *name)
{
	static char out[1024];
	omb_dav_list list;
	size_t len = 0;
	size_t i;

	if (!omb_dav_parse(text, strlen(text), name, &list))
		return "refused";
	out[0] = '\0';
	for (i = 0; i < list.count; i++)
		len += (size_t) snprintf(out + len, sizeof(out) - len,
								 "%s%s %" PRIu64 "; ", list.item[i].path,
								 list.item[i].is_folder ? "/" : "",
								 list.item[i].size);
	omb_dav_list_free(&list);
	return out;
}

static void
addresses(void)
{
	is_text(parsed(ANSWER(ITEM("/dav/f/", FOLDER_PROPS)
							  ITEM("/dav/f/x", FILE_PROPS("5"))
								  ITEM("/dav/f/g/", FOLDER_PROPS)),
				   "f"),
			"/dav/f/ 0; /dav/f/x 5; /dav/f/g/ 0; ", "absolute paths");
	is_text(parsed(ANSWER(ITEM("https://h:1/dav/f", FOLDER_PROPS)
							  ITEM("https://h:1/dav/f/x", FILE_PROPS("5"))),
				   "f"),
			"/dav/f/ 0; /dav/f/x 5; ",
			"whole addresses, folder without slash");
	is_text(parsed(ANSWER(ITEM("/%64av/a%20%26%C3%A9/", FOLDER_PROPS) ITEM(
					   "/dav/a &amp;\xc3\xa9/x%2b+", FILE_PROPS("5"))),
				   "a &\xc3\xa9"),
			"refused", "a space that is not encoded ends an address");
	is_text(parsed(ANSWER(ITEM("/%64av/a%26%C3%A9/", FOLDER_PROPS) ITEM(
					   "/dav/a&amp;\xc3\xa9/x%2b+", FILE_PROPS("5"))),
				   "a&\xc3\xa9"),
			"/dav/a&\xc3\xa9/ 0; /dav/a&\xc3\xa9/x++ 5; ",
			"more or less of it is encoded");
	is_text(parsed(ANSWER(ITEM("/p/f/x", FILE_PROPS("5"))
							  ITEM("\n /p/f/ \n", FOLDER_PROPS)),
				   "f"),
			"/p/f/ 0; /p/f/x 5; ", "the folder comes later, with white space");
	is_text(parsed(ANSWER(ITEM("/", FOLDER_PROPS) ITEM("/x", FILE_PROPS("5"))),
				   ""),
			"/ 0; /x 5; ", "the root of a server");
	is_text(parsed(ANSWER(ITEM("/f/x", FILE_PROPS("5"))), "x"), "/f/x 5; ",
			"one file");
}

static void
properties(void)
{
	omb_dav_list list;
	const char *text = ANSWER(ITEM(
		"/f", "<D:propstat><D:prop><D:getcontentlength>9</D:getcontentlength>"
			  "<D:getetag>W/\"weak\"</D:getetag></D:prop>"
			  "<D:status>HTTP/1.1 200 OK</D:status></D:propstat>"
			  "<D:propstat><D:prop><D:resourcetype><D:collection/>"
			  "</D:resourcetype></D:prop>"
			  "<D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"));

	ok(omb_dav_parse(text, strlen(text), "f", &list) && list.count == 1 &&
		   !list.item[0].is_folder && list.item[0].has_size &&
		   list.item[0].size == 9 && list.item[0].etag[0] == '\0',
	   "what a file does not have is left out, and so is a weak ETag");
	omb_dav_list_free(&list);
	is_text(parsed(ANSWER(ITEM("/f/", FOLDER_PROPS) ITEM(
					   "/f/x", "<D:status>HTTP/1.1 404 Gone</D:status>")),
				   "f"),
			"/f/ 0; ", "what has gone meanwhile is left out");
}

static void
nonsense(void)
{
	is_text(parsed("", "f"), "refused", "nothing");
	is_text(parsed("<html></html>", "f"), "refused", "another document");
	is_text(parsed(ANSWER(""), "f"), "refused", "no item");
	is_text(parsed(ANSWER(ITEM("/f/x", FILE_PROPS("5"))), "f"), "refused",
			"what was asked about is missing");
	is_text(
		parsed(ANSWER(ITEM("/f/", FOLDER_PROPS) ITEM("/g/x", FILE_PROPS("5"))),
			   "f"),
		"refused", "a file of another folder");
	is_text(parsed(ANSWER(ITEM("/f/", FOLDER_PROPS)
							  ITEM("/f/g/x", FILE_PROPS("5"))),
				   "f"),
			"refused", "a file further below");
	is_text(parsed(ANSWER(ITEM("/f/", FOLDER_PROPS)
							  ITEM("/f/%00", FILE_PROPS("5"))),
				   "f"),
			"refused", "a zero byte");
	is_text(parsed(ANSWER(ITEM("/f/", FOLDER_PROPS)
							  ITEM("/f/%4", FILE_PROPS("5"))),
				   "f"),
			"refused", "cut hex digits");
	is_text(parsed(ANSWER(ITEM("/f", FILE_PROPS("-5"))), "f"), "refused",
			"a size that is none");
	is_text(parsed(ANSWER(ITEM("f", FILE_PROPS("5"))), "f"), "refused",
			"no absolute path");
}

static omb_status
opened(const char *text)
{
	omb_error err = OMB_ERROR_INIT;
	omb_store *store;

	if (omb_store_open_url(text, "/none", &store, &err) == OMB_OK)
		omb_store_free(store);
	return err.status;
}

static void
plain(void)
{
	ok(opened("webdav://localhost/x") == OMB_OK &&
		   opened("webdav://127.0.0.1:80/x") == OMB_OK &&
		   opened("webdav://[::1]:80/x") == OMB_OK &&
		   opened("webdavs://host/x?ca-file=/y") == OMB_OK &&
		   opened("webdav://host/x?allow-plain=yes") == OMB_OK,
	   "a password goes to this machine, over TLS, or where that is wanted");
	ok(opened("webdav://host/x") == OMB_REFUSED &&
		   opened("webdav://localhost.example/x") == OMB_REFUSED &&
		   opened("webdav://127.0.0.1.example/x") == OMB_REFUSED &&
		   opened("webdav://host/x?allow-plain=no") == OMB_REFUSED,
	   "and nowhere else");
	ok(opened("webdav:///x") == OMB_USAGE &&
		   opened("webdavs://me:secret@host/x") == OMB_USAGE &&
		   opened("webdavs://host/x?host-key=1") == OMB_USAGE &&
		   opened("webdavx://host/x") == OMB_USAGE,
	   "URLs that make no sense are refused");
}

int
main(void)
{
	addresses();
	properties();
	nonsense();
	plain();
	return tap_done();
}
