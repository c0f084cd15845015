/*-------------------------------------------------------------------------
 *
 * hidden_text.c
 *	  The type of secrets: a text that is stored and used, but never shown.
 *
 * The output and send functions return a mask.  So no SELECT, COPY, message,
 * plan or output plugin of logical decoding renders the value.
 * miosa.reveal(), on which no role has privileges, returns the text.
 *
 * The server compares the bytes of any type, with the operators for record
 * images, and a role that may read a column could search for its value that way.
 * So a stored value is combined with a key stream of random bytes that precede
 * it: two of the same text differ, and neither order nor equality says anything.
 * That is no encryption: the files of the server contain the secrets.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "replication/logicalworker.h"
#include "utils/builtins.h"

#include "adapter/secret.h"
#include "base/compat.h"
#include "base/errors.h"
#include "base/function_name.h"
#include "common/digest.h"

PG_FUNCTION_INFO_V1(mrb_hidden_text_in);
PG_FUNCTION_INFO_V1(mrb_hidden_text_out);
PG_FUNCTION_INFO_V1(mrb_hidden_text_recv);
PG_FUNCTION_INFO_V1(mrb_hidden_text_send);
PG_FUNCTION_INFO_V1(mrb_reveal);
PG_FUNCTION_INFO_V1(mrb_check_secret);

#define MASK_DETAIL \
	"\"" MRB_SECRET_MASK "\" is shown in place of secrets."
#define PLAIN_DETAIL \
	"A secret has printable ASCII characters, with no space at its ends."

/* Random bytes before a value, and bytes of a block of the key stream. */
#define NONCE_SIZE 16
#define BLOCK_SIZE 32

static Datum hide(char *value);
static void combine(const uint8 *nonce, uint8 *bytes, int len);

/*
 * Input function.
 */
Datum
mrb_hidden_text_in(PG_FUNCTION_ARGS)
{
	return hide(PG_GETARG_CSTRING(0));
}

/*
 * Output function: the mask, whatever the value is.
 */
Datum
mrb_hidden_text_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(pstrdup(MRB_SECRET_MASK));
}

/*
 * Binary input function.
 */
Datum
mrb_hidden_text_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			len;
	char	   *value = pq_getmsgtext(message, message->len - message->cursor,
									  &len);

	return hide(value);
}

/*
 * Binary output function: the mask, too.
 */
Datum
mrb_hidden_text_send(PG_FUNCTION_ARGS)
{
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendtext(&message, MRB_SECRET_MASK, strlen(MRB_SECRET_MASK));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

/*
 * miosa.reveal(secret): the text itself
 */
Datum
mrb_reveal(PG_FUNCTION_ARGS)
{
	text	   *stored = PG_GETARG_TEXT_PP(0);
	int			len = VARSIZE_ANY_EXHDR(stored) - NONCE_SIZE;
	const char *nonce = VARDATA_ANY(stored);
	text	   *value;

	if (len < 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("a stored secret is too short")));
	value = cstring_to_text_with_len(nonce + NONCE_SIZE, len);
	combine((const uint8 *) nonce, (uint8 *) VARDATA(value), len);
	PG_RETURN_TEXT_P(value);
}

/*
 * miosa.check_secret(name, value): raise INVALID_ARGUMENT for a value that
 * cannot be used as a secret, without repeating it
 */
Datum
mrb_check_secret(PG_FUNCTION_ARGS)
{
	char	   *name = PG_ARGISNULL(0) ? "" :
	text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *value = PG_ARGISNULL(1) ? "" :
	text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		masked = strcmp(value, MRB_SECRET_MASK) == 0;
	char	   *problem = NULL;

	if (!mrb_secret_is_plain(value))
		mrb_raise(MRB_ERR_INVALID_ARGUMENT, "invalid secret", PLAIN_DETAIL,
				  psprintf("SELECT miosa_put_secret(%s, '...');",
						   quote_literal_cstr(name)));
	if (masked || mrb_secret_resolve(value, &problem) == NULL)
		mrb_raise(MRB_ERR_INVALID_ARGUMENT,
				  psprintf("secret \"%s\" cannot be used", name),
				  masked ? MASK_DETAIL :
				  psprintf("The secret has no value: %s.", problem),
				  psprintf("SHOW miosa_rollback.secret_directory; the server must be able to read the file below it, then: SELECT miosa_put_secret(%s, 'file:NAME');",
						   quote_literal_cstr(name)));
	PG_RETURN_VOID();
}

/*
 * Make a value of a text.  A subscription receives the mask instead of a value
 * and must not fail; a trigger skips that row.  The message does not repeat the
 * text, which may be most of a secret.
 */
static Datum
hide(char *value)
{
	bool		masked = strcmp(value, MRB_SECRET_MASK) == 0;
	int			len = strlen(value);
	text	   *stored;
	uint8	   *nonce;

	if ((masked && !IsLogicalWorker()) || !mrb_secret_is_plain(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid secret"),
				 masked ?
				 errdetail(MASK_DETAIL) :
				 errdetail(PLAIN_DETAIL),
				 errhint("%s", mrb_function_name_qualify("Put it in a file: SELECT miosa_put_secret('NAME', 'file:PATH');"))));
	stored = palloc(VARHDRSZ + NONCE_SIZE + len);
	SET_VARSIZE(stored, VARHDRSZ + NONCE_SIZE + len);
	nonce = (uint8 *) VARDATA(stored);
	if (!pg_strong_random(nonce, NONCE_SIZE))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	memcpy(nonce + NONCE_SIZE, value, len);
	combine(nonce, nonce + NONCE_SIZE, len);
	PG_RETURN_TEXT_P(stored);
}

/*
 * Combine bytes with the key stream of a nonce; a second time, they are as
 * before.
 */
static void
combine(const uint8 *nonce, uint8 *bytes, int len)
{
	uint8		block[BLOCK_SIZE];

	for (int i = 0; i < len; i++)
	{
		if (i % BLOCK_SIZE == 0)
		{
			char		number[16];
			const char *part = number;
			size_t		length;

			length = snprintf(number, sizeof(number), "%d", i / BLOCK_SIZE);
			if (!mrb_digest_hmac(nonce, NONCE_SIZE, &part, &length, 1, block))
				ereport(ERROR,
						(errcode(ERRCODE_INTERNAL_ERROR),
						 errmsg("could not compute a digest")));
		}
		bytes[i] ^= block[i % BLOCK_SIZE];
	}
}
