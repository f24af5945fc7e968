/* native_name.c - the grammar of names below CP (docs/format.md, "Tree") */
#include "source/native.h"

#include <ctype.h>
#include <string.h>

enum { SYS_TENANT = 1, DATE_DIGITS = 8, ID_DIGITS_MAX = 20 };

static const char *const KIND_NAMES[OBV_NATIVE_KINDS] = {
    [OBV_NATIVE_UNKNOWN] = "unknown",
    [OBV_NATIVE_TEMPORARY] = "temporary",
    [OBV_NATIVE_OWN] = "obvault",
    [OBV_NATIVE_TENANT_NAMES] = "tenant_name_info",
    [OBV_NATIVE_TENANT_INFO] = "tenant_info",
    [OBV_NATIVE_BACKUP_INFO] = "data_backup_info",
    [OBV_NATIVE_SET_LIST] = "backup_set_file_info",
    [OBV_NATIVE_SET_COPY_LIST] = "backup_backup_set_file_info",
    [OBV_NATIVE_ROUNDS] = "clog_backup_info",
    [OBV_NATIVE_PIECES] = "backup_piece_info",
    [OBV_NATIVE_PIECE_COPY_LIST] = "backup_backup_piece_info",
    [OBV_NATIVE_SERVER_START] = "server_start",
    [OBV_NATIVE_MOUNT_FILE] = "mount_file",
    [OBV_NATIVE_SINGLE_PIECE] = "single_piece_info",
    [OBV_NATIVE_ARCHIVE_KEY] = "archive_key",
    [OBV_NATIVE_ARCHIVE_INDEX] = "archive_index",
    [OBV_NATIVE_ARCHIVE_DATA] = "archive_data",
    [OBV_NATIVE_SINGLE_SET] = "single_backup_set_info",
    [OBV_NATIVE_SET_INFO] = "backup_set_info",
    [OBV_NATIVE_SYS_PG_LIST] = "sys_pg_list",
    [OBV_NATIVE_NORMAL_PG_LIST] = "normal_pg_list",
    [OBV_NATIVE_LOCALITY] = "tenant_locality_info",
    [OBV_NATIVE_DIAGNOSE] = "tenant_diagnose_info",
    [OBV_NATIVE_META_FILE] = "meta_file",
    [OBV_NATIVE_META_INDEX] = "meta_index_file",
    [OBV_NATIVE_MERGED_INDEX] = "merged_meta_index_file",
    [OBV_NATIVE_MACRO_DATA] = "macro_data",
    [OBV_NATIVE_MACRO_INDEX] = "macro_index",
};

const char *obv_native_kind_name(enum obv_native_kind kind)
{
    return kind < OBV_NATIVE_KINDS ? KIND_NAMES[kind] : KIND_NAMES[OBV_NATIVE_UNKNOWN];
}

/* A cursor over the path; a failed step leaves it where it was. */
typedef struct cursor {
    const char *p;
} cursor;

static bool word(cursor *c, const char *text)
{
    const size_t len = strlen(text);
    if (strncmp(c->p, text, len) != 0)
        return false;
    c->p += len;
    return true;
}

static bool end(const cursor *c) { return *c->p == '\0'; }

/* Decimal, no leading zero but for 0 itself, at most INT64_MAX. */
static bool number(cursor *c, uint64_t *out)
{
    const char *p = c->p;
    uint64_t v = 0;
    size_t digits = 0;
    for (; isdigit((unsigned char)*p); p++, digits++) {
        if (digits == ID_DIGITS_MAX || v > (INT64_MAX - (uint64_t)(*p - '0')) / 10)
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    if (digits == 0 || (digits > 1 && c->p[0] == '0'))
        return false;
    c->p = p;
    *out = v;
    return true;
}

static bool id(cursor *c, int64_t *out)
{
    uint64_t v = 0;
    if (!number(c, &v))
        return false;
    *out = (int64_t)v;
    return true;
}

static bool date(cursor *c, int64_t *out)
{
    int64_t v = 0;
    for (int i = 0; i < DATE_DIGITS; i++) {
        if (!isdigit((unsigned char)c->p[i]))
            return false;
        v = v * 10 + (c->p[i] - '0');
    }
    c->p += DATE_DIGITS;
    *out = v;
    return true;
}

static bool whole(cursor c, const char *text) { return word(&c, text) && end(&c); }

typedef struct fixed_name {
    const char *text;
    enum obv_native_kind kind;
} fixed_name;

static enum obv_native_kind find_fixed(const cursor *c, const fixed_name *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (whole(*c, list[i].text))
            return list[i].kind;
    return OBV_NATIVE_UNKNOWN;
}
#define FIND(c, list) find_fixed(c, list, sizeof(list) / sizeof *(list))

static const fixed_name IN_CP[] = {
    {"tenant_name_info", OBV_NATIVE_TENANT_NAMES},
    {"tenant_info", OBV_NATIVE_TENANT_INFO},
    {"cluster_data_backup_info", OBV_NATIVE_BACKUP_INFO},
    {"cluster_backup_set_file_info", OBV_NATIVE_SET_LIST},
    {"cluster_backup_backup_set_file_info", OBV_NATIVE_SET_COPY_LIST},
    {"cluster_clog_backup_info", OBV_NATIVE_ROUNDS},
    {"cluster_backup_piece_info", OBV_NATIVE_PIECES},
    {"cluster_backup_backup_piece_info", OBV_NATIVE_PIECE_COPY_LIST},
};
static const fixed_name IN_DATA[] = {
    {"tenant_data_backup_info", OBV_NATIVE_BACKUP_INFO},
    {"tenant_backup_set_file_info", OBV_NATIVE_SET_LIST},
    {"tenant_backup_backup_set_file_info", OBV_NATIVE_SET_COPY_LIST},
};
static const fixed_name IN_CLOG[] = {
    {"tenant_clog_backup_info", OBV_NATIVE_ROUNDS},
    {"backup_piece_info", OBV_NATIVE_PIECES},
    {"backup_backup_piece_info", OBV_NATIVE_PIECE_COPY_LIST},
};
static const fixed_name IN_SET[] = {
    {"single_backup_set_info", OBV_NATIVE_SINGLE_SET},
    {"backup_set_info", OBV_NATIVE_SET_INFO},
};
static const fixed_name IN_INC[] = {
    {"sys_pg_list", OBV_NATIVE_SYS_PG_LIST},       {"normal_pg_list", OBV_NATIVE_NORMAL_PG_LIST},
    {"tenant_locality_info", OBV_NATIVE_LOCALITY}, {"tenant_diagnose_info", OBV_NATIVE_DIAGNOSE},
    {"meta_index_file", OBV_NATIVE_MERGED_INDEX},
};

/* <server id>_<ip>_<port> */
static bool server_name(cursor c)
{
    uint64_t v = 0;
    if (!number(&c, &v) || !word(&c, "_"))
        return false;
    const size_t ip = strspn(c.p, "0123456789.");
    c.p += ip;
    return ip > 0 && word(&c, "_") && number(&c, &v) && end(&c);
}

/* <table>/<partition>/[major_data|minor_data/<task>]/macro_block... */
static enum obv_native_kind pg_file(cursor c, obv_native_name *n)
{
    if (!number(&c, &n->table) || !word(&c, "/") || !id(&c, &n->partition) || !word(&c, "/"))
        return OBV_NATIVE_UNKNOWN;
    if (word(&c, "minor_data/")) {
        n->minor = true;
        if (!id(&c, &n->task) || !word(&c, "/"))
            return OBV_NATIVE_UNKNOWN;
    } else {
        n->flat = !word(&c, "major_data/");
    }
    if (word(&c, "macro_block_index_")) {
        if (!id(&c, &n->inc_id))
            return OBV_NATIVE_UNKNOWN;
        if (end(&c))
            return OBV_NATIVE_MACRO_INDEX;
        return word(&c, ".") && id(&c, &n->number) && n->number > 0 && end(&c) ? OBV_NATIVE_MACRO_INDEX
                                                                               : OBV_NATIVE_UNKNOWN;
    }
    return word(&c, "macro_block_") && id(&c, &n->inc_id) && word(&c, ".") && id(&c, &n->number) && end(&c)
               ? OBV_NATIVE_MACRO_DATA
               : OBV_NATIVE_UNKNOWN;
}

/* "<id>_<full|inc>_<date>/", or as before 2.2.77 "<id of the full>/" */
static bool set_folder(cursor *c, obv_native_name *n)
{
    if (!id(c, &n->set_id))
        return false;
    if (word(c, "/")) {
        n->folder = n->set_id;
        n->full = true;
        return n->folder > 0;
    }
    n->full = word(c, "_full_");
    return (n->full || word(c, "_inc_")) && date(c, &n->date) && n->date > 0 && word(c, "/");
}

/* Behind the folder's name. */
static enum obv_native_kind in_set(cursor c, obv_native_name *n)
{
    if (word(&c, "data/"))
        return pg_file(c, n);
    if (!word(&c, "backup_"))
        return FIND(&c, IN_SET);
    if (whole(c, "set_info"))
        return OBV_NATIVE_SET_INFO;
    if (!id(&c, &n->inc_id) || !word(&c, "/"))
        return OBV_NATIVE_UNKNOWN;
    const enum obv_native_kind fixed = FIND(&c, IN_INC);
    if (fixed != OBV_NATIVE_UNKNOWN)
        return fixed;
    if (word(&c, "meta_file_"))
        return id(&c, &n->task) && end(&c) ? OBV_NATIVE_META_FILE : OBV_NATIVE_UNKNOWN;
    return word(&c, "meta_index_file_") && id(&c, &n->task) && end(&c) ? OBV_NATIVE_META_INDEX : OBV_NATIVE_UNKNOWN;
}

/* Behind "backup_set_". */
static enum obv_native_kind set_file(cursor c, obv_native_name *n)
{
    if (!set_folder(&c, n))
        return OBV_NATIVE_UNKNOWN;
    const enum obv_native_kind kind = in_set(c, n);
    const bool macro = kind == OBV_NATIVE_MACRO_DATA || kind == OBV_NATIVE_MACRO_INDEX;
    if (n->folder == 0 || kind == OBV_NATIVE_UNKNOWN || (!macro && n->inc_id == 0))
        return kind;
    if (n->inc_id < n->folder || (macro && !n->flat))
        return OBV_NATIVE_UNKNOWN;
    n->set_id = n->inc_id; /* an increment in the folder of its full */
    n->full = n->inc_id == n->folder;
    return kind;
}

/* <table>/<partition>/<file id> */
static bool numbered_file(cursor *c, obv_native_name *n)
{
    return number(c, &n->table) && word(c, "/") && id(c, &n->partition) && word(c, "/") && number(c, &n->file_id) &&
           n->file_id > 0 && end(c);
}

static enum obv_native_kind round_file(cursor c, obv_native_name *n)
{
    if (!number(&c, &n->round))
        return OBV_NATIVE_UNKNOWN;
    if (word(&c, "_")) {
        int64_t d = 0;
        if (!number(&c, &n->piece) || !word(&c, "_") || !date(&c, &d))
            return OBV_NATIVE_UNKNOWN;
        n->piece_date = (uint64_t)d;
    }
    if (!word(&c, "/"))
        return OBV_NATIVE_UNKNOWN;
    if (whole(c, "single_piece_info"))
        return OBV_NATIVE_SINGLE_PIECE;
    if (whole(c, "mount_file"))
        return n->tenant == SYS_TENANT && n->piece_date == 0 ? OBV_NATIVE_MOUNT_FILE : OBV_NATIVE_UNKNOWN;
    if (word(&c, "archive_key/"))
        return number(&c, &n->table) && word(&c, "_") && id(&c, &n->partition) && end(&c) ? OBV_NATIVE_ARCHIVE_KEY
                                                                                          : OBV_NATIVE_UNKNOWN;
    if (word(&c, "index/"))
        return numbered_file(&c, n) ? OBV_NATIVE_ARCHIVE_INDEX : OBV_NATIVE_UNKNOWN;
    return word(&c, "data/") && numbered_file(&c, n) ? OBV_NATIVE_ARCHIVE_DATA : OBV_NATIVE_UNKNOWN;
}

static enum obv_native_kind tenant_file(cursor c, obv_native_name *n)
{
    if (!number(&c, &n->tenant) || !word(&c, "/"))
        return OBV_NATIVE_UNKNOWN;
    if (word(&c, "data/")) {
        const enum obv_native_kind fixed = FIND(&c, IN_DATA);
        return fixed != OBV_NATIVE_UNKNOWN ? fixed : word(&c, "backup_set_") ? set_file(c, n) : fixed;
    }
    if (!word(&c, "clog/"))
        return OBV_NATIVE_UNKNOWN;
    const enum obv_native_kind fixed = FIND(&c, IN_CLOG);
    return fixed != OBV_NATIVE_UNKNOWN ? fixed : round_file(c, n);
}

static bool is_temporary(const char *path)
{
    const char *at = strstr(path, ".tmp.");
    return at && isdigit((unsigned char)at[5]);
}

void obv_native_name_parse(const char *path, obv_native_name *out)
{
    obv_native_name n = {.tenant = SYS_TENANT};
    cursor c = {path};
    if (word(&c, "obvault/")) {
        n.kind = OBV_NATIVE_OWN;
    } else if (isdigit((unsigned char)*path)) {
        n.kind = tenant_file(c, &n);
    } else if (word(&c, "clog_info/")) {
        n.kind = server_name(c) ? OBV_NATIVE_SERVER_START : OBV_NATIVE_UNKNOWN;
    } else {
        n.kind = FIND(&c, IN_CP);
    }
    if (n.kind == OBV_NATIVE_UNKNOWN && is_temporary(path))
        n.kind = OBV_NATIVE_TEMPORARY;
    *out = n;
}
