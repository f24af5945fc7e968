#define OBV_LOG_MOD "repository"
#include "host/repository.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "base/log.h"
#include "base/sha256.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#define IDENTITY_MAX 4096u /* bytes of repository.json */
#define IDENTITY_NAME "obvault/repository.json"
#define NATIVE_NEEDS (OBV_STORE_CAN_IF_ABSENT | OBV_STORE_CAN_APPEND | OBV_STORE_CAN_REPLACE)

enum { KEY_MAX = 512 };

static const char *const KEYS[] = {"format_version", "uuid",       "profile",      "cluster_name",
                                   "cluster_id",     "created_at", "capabilities", "sha256"};

obv_code obv_repository_prefix(const char *cluster_name, uint64_t cluster_id, char *out, size_t cap, obv_err *err)
{
    if (strchr(cluster_name, '/') || strlen(cluster_name) > 128 || !obv_store_key_is_valid(cluster_name))
        return obv_fail(err, OBV_E_INVAL, 0, "cluster name \"%.128s\" cannot be a folder's name", cluster_name);
    if (cluster_id == 0 || cluster_id > INT64_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "cluster id %" PRIu64 " is not valid", cluster_id);
    if ((size_t)snprintf(out, cap, "%s/%" PRIu64 "/incarnation_1", cluster_name, cluster_id) >= cap)
        return obv_fail(err, OBV_E_LIMIT, 0, "prefix of cluster %.128s is too long", cluster_name);
    return OBV_OK;
}

static obv_code identity_key(const char *cluster_name, uint64_t cluster_id, char *out, obv_err *err)
{
    OBV_TRY(obv_repository_prefix(cluster_name, cluster_id, out, KEY_MAX - sizeof IDENTITY_NAME - 1, err));
    (void)strcat(out, "/" IDENTITY_NAME);
    return OBV_OK;
}

static bool is_uuid(const char *s)
{
    for (size_t i = 0; i < 36; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23 ? s[i] != '-' : !isxdigit((unsigned char)s[i]))
            return false;
    return s[36] == '\0';
}

static obv_code new_uuid(char *out, obv_err *err)
{
    uint8_t b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return obv_fail(err, OBV_E_INTERNAL, 0, "no random numbers");
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    (void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2],
                   b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
    return OBV_OK;
}

static obv_code copy_text(const obv_json_node *root, const char *key, char *out, size_t cap, obv_err *err)
{
    const char *text = NULL;
    OBV_TRY(obv_json_get_str(root, key, &text, err));
    if (strlen(text) >= cap)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s is too long", key);
    (void)strcpy(out, text);
    return OBV_OK;
}

/* All members but the last, which is the digest of the text before it: no byte of the identity can turn unseen. */
static obv_code emit(const obv_repository *r, obv_buf *out, obv_err *err)
{
    const size_t start = out->len;
    uint8_t digest[OBV_SHA256_LEN];
    char hex[OBV_SHA256_HEX_LEN];
    obv_json w = obv_json_to(out);
    obv_json_object(&w, NULL);
    obv_json_u64(&w, "format_version", OBV_REPOSITORY_FORMAT);
    obv_json_str(&w, "uuid", r->uuid);
    obv_json_str(&w, "profile", r->profile);
    obv_json_str(&w, "cluster_name", r->cluster_name);
    obv_json_u64(&w, "cluster_id", r->cluster_id);
    obv_json_i64(&w, "created_at", r->created_at_us);
    obv_json_u64(&w, "capabilities", r->capabilities);
    OBV_TRY(obv_buf_check(out, "identity", err));
    OBV_TRY(obv_sha256_of(obv_span_of(out->data + start, out->len - start), digest, err));
    obv_json_str(&w, "sha256", obv_hex(obv_span_of(digest, sizeof digest), hex));
    obv_json_end(&w);
    obv_json_line(&w);
    return obv_buf_check(out, "identity", err);
}

/* The text must be what emit makes of its values, byte for byte. */
static obv_code check_exact(const obv_repository *r, obv_span text, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf want = obv_buf_heap(IDENTITY_MAX);
    OBV_TRY(emit(r, &want, err));
    if (!obv_span_equal(text, obv_buf_span(&want)))
        return obv_fail(err, OBV_E_CORRUPT, 0, "it does not fit its digest: bytes of it were changed");
    return OBV_OK;
}

static obv_code parse(obv_span text, obv_repository *out, obv_err *err)
{
    OBV_AUTO(obv_json_freep) obv_json_doc *doc = NULL;
    obv_repository r = {0};
    uint64_t version = 0;
    uint64_t caps = 0;
    OBV_TRY(obv_json_parse(text, &doc, err));
    const obv_json_node *root = obv_json_root(doc);
    OBV_TRY(obv_json_get_u64(root, "format_version", &version, err));
    if (version != OBV_REPOSITORY_FORMAT)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "repository format %" PRIu64 ", this version knows %d", version,
                        OBV_REPOSITORY_FORMAT);
    OBV_TRY(obv_json_only(root, KEYS, sizeof KEYS / sizeof *KEYS, err));
    OBV_TRY(copy_text(root, "uuid", r.uuid, sizeof r.uuid, err));
    OBV_TRY(copy_text(root, "profile", r.profile, sizeof r.profile, err));
    OBV_TRY(copy_text(root, "cluster_name", r.cluster_name, sizeof r.cluster_name, err));
    OBV_TRY(obv_json_get_u64(root, "cluster_id", &r.cluster_id, err));
    OBV_TRY(obv_json_get_i64(root, "created_at", &r.created_at_us, err));
    OBV_TRY(obv_json_get_u64(root, "capabilities", &caps, err));
    if (!is_uuid(r.uuid))
        return obv_fail(err, OBV_E_CORRUPT, 0, "uuid \"%s\" is none", r.uuid);
    r.capabilities = (uint32_t)caps;
    if (r.capabilities != caps)
        return obv_fail(err, OBV_E_CORRUPT, 0, "capabilities %" PRIu64, caps);
    OBV_TRY(check_exact(&r, text, err));
    *out = r;
    return OBV_OK;
}

obv_code obv_repository_parse(obv_span text, obv_repository *out, obv_err *err)
{
    const obv_code code = parse(text, out, err);
    if (code != OBV_E_NOT_FOUND)
        return code;
    if (err)
        err->code = OBV_E_CORRUPT; /* a member, not the object */
    return OBV_E_CORRUPT;
}

obv_code obv_repository_read(obv_store *s, const char *cluster_name, uint64_t cluster_id, const obv_cancel *c,
                             obv_repository *out, obv_err *err)
{
    char key[KEY_MAX];
    OBV_AUTO(obv_buf_fini) obv_buf text = obv_buf_heap(IDENTITY_MAX);
    obv_repository r;
    OBV_TRY(identity_key(cluster_name, cluster_id, key, err));
    const obv_code code = obv_store_get_all(s, key, IDENTITY_MAX, &text, c, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, OBV_E_NOT_INITIALISED, err ? err->sys : 0, "no repository: %s is not there", key);
    if (code == OBV_E_LIMIT)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s is larger than an identity can be", key);
    if (code != OBV_OK)
        return code;
    if (obv_repository_parse(obv_buf_span(&text), &r, err) != OBV_OK)
        return obv_wrap(err, "%s", key);
    if (strcmp(r.cluster_name, cluster_name) != 0 || r.cluster_id != cluster_id)
        return obv_fail(err, OBV_E_CONFIG, 0, "%s belongs to cluster %.100s/%" PRIu64, key, r.cluster_name,
                        r.cluster_id);
    *out = r;
    return OBV_OK;
}

obv_code obv_repository_verify(obv_store *s, const char *cluster_name, uint64_t cluster_id, const char *uuid,
                               const obv_cancel *c, obv_repository *out, obv_err *err)
{
    obv_repository r;
    OBV_TRY(obv_repository_read(s, cluster_name, cluster_id, c, &r, err));
    if (uuid && uuid[0] && strcmp(uuid, r.uuid) != 0) {
        (void)obv_fail(err, OBV_E_CONFIG, 0, "the destination is repository %s, expected is %s", r.uuid, uuid);
        return obv_hint(
            err,
            "another destination is mounted here, or the repository was made anew: nothing was "
            "written; mount the right one, or take the new one over with `obvault-agent local repo check --adopt`");
    }
    if (out)
        *out = r;
    return OBV_OK;
}

static int first_key(void *ctx, const char *key, const obv_store_object *o)
{
    (void)o;
    (void)snprintf(ctx, KEY_MAX, "%s", key);
    return 1;
}

static obv_code refuse_foreign_tree(obv_store *s, const char *prefix, const obv_cancel *c, obv_err *err)
{
    char below[KEY_MAX + 1];
    char found[KEY_MAX] = "";
    (void)snprintf(below, sizeof below, "%s/", prefix);
    OBV_TRY(obv_store_list(s, below, first_key, found, c, err));
    if (!found[0])
        return OBV_OK;
    (void)obv_fail(err, OBV_E_PRECONDITION, 0, "%s was written by somebody else: %.300s is there, but no identity",
                   prefix, found);
    return obv_hint(err, "a tree that OceanBase or another tool wrote is never taken over: choose an empty folder");
}

static obv_code check_wanted(const obv_repository *want, obv_err *err)
{
    if (strcmp(want->profile, "native") != 0)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "profile \"%.15s\": only native is known", want->profile);
    if (want->uuid[0] && !is_uuid(want->uuid))
        return obv_fail(err, OBV_E_INVAL, 0, "uuid \"%.36s\" is none", want->uuid);
    return OBV_OK;
}

/* What is there already decides: the same uuid is a repeat of ours. */
static obv_code judge_existing(const obv_repository *want, const obv_repository *there, obv_err *err)
{
    if (want->uuid[0] && strcmp(want->uuid, there->uuid) == 0)
        return OBV_OK;
    return obv_fail(err, OBV_E_EXISTS, 0, "the destination is initialised already: repository %s", there->uuid);
}

obv_code obv_repository_init(obv_store *s, const obv_repository *want, const obv_cancel *c, obv_repository *out,
                             obv_err *err)
{
    char prefix[KEY_MAX];
    char key[KEY_MAX];
    char place[160];
    obv_repository r = *want;
    OBV_TRY(check_wanted(want, err));
    OBV_TRY(obv_repository_prefix(want->cluster_name, want->cluster_id, prefix, sizeof prefix, err));
    OBV_TRY(identity_key(want->cluster_name, want->cluster_id, key, err));
    const obv_code code = obv_repository_read(s, want->cluster_name, want->cluster_id, c, &r, err);
    if (code == OBV_OK) {
        *out = r;
        return judge_existing(want, &r, err);
    }
    if (code != OBV_E_NOT_INITIALISED)
        return code;
    OBV_TRY(refuse_foreign_tree(s, prefix, c, err));
    OBV_TRY(obv_store_probe(s, &r.capabilities, NULL, place, sizeof place, err));
    if ((r.capabilities & NATIVE_NEEDS) != NATIVE_NEEDS)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "%s cannot hold a native repository: it lacks%s%s%s", place,
                        r.capabilities & OBV_STORE_CAN_IF_ABSENT ? "" : " exclusive creation",
                        r.capabilities & OBV_STORE_CAN_APPEND ? "" : " appending",
                        r.capabilities & OBV_STORE_CAN_REPLACE ? "" : " atomic replacement");
    if (!r.uuid[0])
        OBV_TRY(new_uuid(r.uuid, err));
    r.created_at_us = obv_now_us();
    OBV_AUTO(obv_buf_fini) obv_buf text = obv_buf_heap(IDENTITY_MAX);
    OBV_TRY(emit(&r, &text, err));
    OBV_FAULT("repository.before_identity");
    const obv_code put = obv_store_put_bytes(s, key, true, obv_buf_span(&text), c, err);
    if (put == OBV_E_EXISTS) { /* another host was faster */
        OBV_TRY(obv_repository_read(s, want->cluster_name, want->cluster_id, c, out, err));
        return judge_existing(want, out, err);
    }
    OBV_TRY(put);
    OBV_INFO("repository %s made in %s (%s)", r.uuid, prefix, place);
    *out = r;
    return OBV_OK;
}
