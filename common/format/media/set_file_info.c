/* *_backup_set_file_info and single_backup_set_info: the lists that restores choose sets from */
#include "format/media/info_files.h"
#include "format/ob/codec.h"

#include <inttypes.h>

/* All members in order; one table serves both ways, so that they cannot differ. */
enum kind { WORD, INT, TEXT };
typedef struct member {
    enum kind kind;
    uint16_t at, size; /* in obv_set_file_info; size of a TEXT */
} member;
#define W(name)                                                                                                        \
    {                                                                                                                  \
        WORD, offsetof(obv_set_file_info, name), 0                                                                     \
    }
#define I(name)                                                                                                        \
    {                                                                                                                  \
        INT, offsetof(obv_set_file_info, name), 0                                                                      \
    }
#define T(name)                                                                                                        \
    {                                                                                                                  \
        TEXT, offsetof(obv_set_file_info, name), sizeof((obv_set_file_info *)0)->name                                  \
    }

/* clang-format off */
static const member MEMBERS[] = {
    W(tenant_id), W(set_id), W(incarnation), W(copy_id), W(snapshot_version), W(prev_full_set_id), W(prev_set_id),
    W(prev_data_version), W(pg_count), W(macro_block_count), W(finish_pg_count), W(finish_macro_block_count),
    W(input_bytes), W(output_bytes), W(start_time), W(end_time), W(compatible), W(cluster_version),
    I(backup_type), I(status), I(result), W(cluster_id), T(backup_dest), W(data_version), W(schema_version),
    W(partition_count), W(finish_partition_count), I(encryption_mode), T(passwd), I(file_status),
    W(start_replay_log_ts), W(date),
};
/* clang-format on */
#undef W
#undef I
#undef T
#define MEMBER_COUNT (sizeof MEMBERS / sizeof *MEMBERS)

static void put_entry(obv_buf *b, const obv_set_file_info *e)
{
    const size_t mark = obv_unis_begin(b, 1);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        const char *p = (const char *)e + MEMBERS[i].at;
        uint64_t word = 0;
        int32_t number = 0;
        switch (MEMBERS[i].kind) {
        case WORD:
            memcpy(&word, p, sizeof word);
            obv_put_vu64(b, word);
            break;
        case INT:
            memcpy(&number, p, sizeof number);
            obv_put_vi32(b, number);
            break;
        case TEXT:
            obv_put_fixed_str(b, p);
            break;
        }
    }
    obv_unis_end(b, mark);
}

static void read_entry(obv_rd *list, obv_set_file_info *e)
{
    obv_rd_item(list);
    obv_rd r = obv_rd_unis(list, 1);
    for (size_t i = 0; i < MEMBER_COUNT; i++) {
        char *p = (char *)e + MEMBERS[i].at;
        uint64_t word = 0;
        int32_t number = 0;
        obv_span text;
        switch (MEMBERS[i].kind) {
        case WORD:
            word = obv_rd_vu64(&r);
            memcpy(p, &word, sizeof word);
            break;
        case INT:
            number = obv_rd_vi32(&r);
            memcpy(p, &number, sizeof number);
            break;
        case TEXT:
            text = obv_rd_fixed_str(&r, MEMBERS[i].size);
            memcpy(p, text.p, text.len);
            p[text.len] = 0;
            break;
        }
    }
    list->bad |= r.bad;
}

static obv_code check_entry(const obv_set_file_info *e, obv_err *err)
{
    if (e->tenant_id == 0 || e->set_id <= 0 || e->incarnation <= 0 || e->copy_id < 0 || e->snapshot_version <= 0 ||
        (e->backup_type != OBV_BACKUP_FULL && e->backup_type != OBV_BACKUP_INCREMENTAL) || e->status < OBV_SET_DOING ||
        e->status > OBV_SET_FAILED || e->file_status < OBV_SET_FILE_AVAILABLE ||
        e->file_status > OBV_SET_FILE_DELETED || e->encryption_mode < 0 ||
        e->encryption_mode > OBV_ENCRYPTION_MODE_MAX || e->date < 0 || !e->backup_dest[0] ||
        !memchr(e->backup_dest, 0, sizeof e->backup_dest) || !memchr(e->passwd, 0, sizeof e->passwd))
        return obv_fail(err, OBV_E_INVAL, 0, "set file info of set %" PRId64 ": OceanBase would refuse it", e->set_id);
    return OBV_OK;
}

obv_code obv_put_set_file_infos(obv_buf *b, const obv_set_file_info *e, size_t n, obv_err *err)
{
    for (size_t i = 0; i < n; i++) {
        OBV_TRY(check_entry(&e[i], err));
        if (i > 0 && e[i].set_id <= e[i - 1].set_id)
            return obv_fail(err, OBV_E_INVAL, 0, "set file infos: set %" PRId64 " does not ascend", e[i].set_id);
    }
    obv_buf body = obv_buf_heap(OBV_INFO_FILE_MAX);
    const size_t mark = obv_unis_begin(&body, 1);
    obv_put_vu64(&body, n);
    for (size_t i = 0; i < n; i++)
        put_entry(&body, &e[i]);
    obv_unis_end(&body, mark);
    const obv_code made = obv_buf_check(&body, "set file infos", err);
    if (made == OBV_OK)
        obv_put_info_file(b, OBV_FILE_SET_FILE_INFO, 0, obv_buf_span(&body));
    obv_buf_fini(&body);
    OBV_TRY(made);
    return obv_buf_check(b, "set file infos", err);
}

obv_code obv_set_file_infos_each(obv_span file, obv_set_file_info_fn *fn, void *ctx, obv_err *err)
{
    obv_span payload;
    OBV_TRY(obv_info_file_parse(file, OBV_FILE_SET_FILE_INFO, &payload, err));
    if (file.len == 0)
        return OBV_OK;
    obv_rd r = obv_rd_of(payload);
    obv_rd list = obv_rd_unis(&r, 1);
    const size_t n = obv_rd_count(&list, OBV_INFO_ENTRIES_MAX, MEMBER_COUNT);
    r.bad |= list.bad;
    OBV_TRY(obv_rd_done(&r, "set file infos", err));
    for (size_t i = 0; i < n; i++) {
        obv_set_file_info e = {0};
        read_entry(&list, &e);
        OBV_TRY(obv_rd_check(&list, "set file info", err));
        if (fn(ctx, &e) != 0)
            return obv_fail(err, OBV_E_CANCELLED, 0, "set file infos: stopped by the reader");
    }
    return OBV_OK;
}
