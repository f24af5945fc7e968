/* wire_in.c - tasks and archive pages as sent: every bound is checked, nothing is trusted */
#include "wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static obv_code copy_text(char *out, size_t cap, const char *in, const char *what, bool may_be_empty, obv_err *err)
{
    const size_t len = strlen(in);
    if (len >= cap || (len == 0 && !may_be_empty))
        return obv_fail(err, OBV_E_INVAL, 0, "task: %s of %zu bytes", what, len);
    memcpy(out, in, len + 1);
    return OBV_OK;
}

static obv_code read_key(const Obvault__V1__PgKey *in, obv_pg_key *out, obv_err *err)
{
    if (!in || in->part_id > INT32_MAX || in->assist > INT32_MAX || in->table_id == 0)
        return obv_fail(err, OBV_E_INVAL, 0, "task: a PG key is not valid");
    *out = (obv_pg_key){.table_id = in->table_id, .part_id = (int32_t)in->part_id, .assist = (int32_t)in->assist};
    return OBV_OK;
}

static obv_code read_keys(Obvault__V1__PgKey *const *in, size_t n, uint64_t tenant_id, obv_task *t, obv_err *err)
{
    if (n == 0 || n > OBV_BATCH_PGS_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "task: %zu PGs", n);
    t->pgs = calloc(n, sizeof *t->pgs);
    if (!t->pgs)
        return obv_fail(err, OBV_E_NOMEM, 0, "task: out of memory");
    for (t->pg_count = 0; t->pg_count < n; t->pg_count++) {
        OBV_TRY(read_key(in[t->pg_count], &t->pgs[t->pg_count], err));
        if (obv_pg_key_tenant(&t->pgs[t->pg_count]) != tenant_id)
            return obv_fail(err, OBV_E_INVAL, 0, "task: PG %" PRIu64 " is not of tenant %" PRIu64,
                            t->pgs[t->pg_count].table_id, tenant_id);
    }
    return OBV_OK;
}

static obv_code read_set(const Obvault__V1__BackupSet *in, uint64_t task_id, obv_task *t, obv_err *err)
{
    obv_media_root root;
    if (!in)
        return obv_fail(err, OBV_E_INVAL, 0, "task: no set");
    if (in->set_id <= 0 || in->full_set_id <= 0 || in->date < 19700101 || in->date > 99991231 || in->cluster_id == 0 ||
        in->cluster_id > INT64_MAX || task_id > INT64_MAX / 100000)
        return obv_fail(err, OBV_E_INVAL, 0, "task: set %" PRId64 " (full %" PRId64 ", date %" PRId64 ")", in->set_id,
                        in->full_set_id, in->date);
    OBV_TRY(copy_text(t->set.cluster_name, sizeof t->set.cluster_name, in->cluster_name, "cluster name", false, err));
    OBV_TRY(obv_media_root_init(&root, t->set.cluster_name, (int64_t)in->cluster_id, err));
    t->set.cluster_id = in->cluster_id;
    t->set.id = (obv_set_id){
        .tenant_id = in->tenant_id, .set_id = in->set_id, .full_set_id = in->full_set_id, .date = in->date};
    t->set.schema_version = in->schema_version;
    t->task_id = (int64_t)task_id;
    return OBV_OK;
}

static obv_code read_sha(const ProtobufCBinaryData *in, uint8_t *out, obv_err *err)
{
    if (in->len != OBV_SHA_LEN)
        return obv_fail(err, OBV_E_INVAL, 0, "task: a digest of %zu bytes", in->len);
    memcpy(out, in->data, OBV_SHA_LEN);
    return OBV_OK;
}

static obv_code read_path(const char *in, char *out, obv_err *err)
{
    OBV_TRY(copy_text(out, OBV_PATH_MAX, in, "path", false, err));
    if (!obv_store_key_is_valid(out))
        return obv_fail(err, OBV_E_INVAL, 0, "task: \"%.200s\" is no path", out);
    return OBV_OK;
}

static obv_code read_file(const Obvault__V1__PutFile *in, obv_put_file *out, obv_err *err)
{
    OBV_TRY(read_path(in->path, out->path, err));
    OBV_TRY(read_sha(&in->sha256, out->sha256, err));
    if (in->content.len != 0 && in->content.len != in->size)
        return obv_fail(err, OBV_E_INVAL, 0, "task: %s has %zu of %" PRIu64 " bytes", in->path, in->content.len,
                        in->size);
    out->if_absent = in->if_absent;
    out->size = in->size;
    if (in->content.len == 0)
        return OBV_OK;
    out->content = malloc(in->content.len);
    if (!out->content)
        return obv_fail(err, OBV_E_NOMEM, 0, "task: out of memory");
    memcpy(out->content, in->content.data, in->content.len);
    return OBV_OK;
}

static obv_code read_files(const Obvault__V1__PutFiles *in, obv_task *t, obv_err *err)
{
    if (in->n_files == 0 || in->n_files > OBV_PUT_FILES_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "task: %zu files", in->n_files);
    t->files = calloc(in->n_files, sizeof *t->files);
    if (!t->files)
        return obv_fail(err, OBV_E_NOMEM, 0, "task: out of memory");
    for (; t->file_count < in->n_files; t->file_count++) {
        const obv_code code = read_file(in->files[t->file_count], &t->files[t->file_count], err);
        if (code != OBV_OK) {
            free(t->files[t->file_count].content);
            return code;
        }
    }
    return OBV_OK;
}

static obv_code read_objects(const Obvault__V1__VerifyObjects *in, obv_task *t, obv_err *err)
{
    if (in->n_objects > OBV_VERIFY_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "task: %zu objects", in->n_objects);
    t->objects = calloc(in->n_objects + 1, sizeof *t->objects);
    if (!t->objects)
        return obv_fail(err, OBV_E_NOMEM, 0, "task: out of memory");
    for (; t->object_count < in->n_objects; t->object_count++) {
        obv_stored_object *o = &t->objects[t->object_count];
        OBV_TRY(read_path(in->objects[t->object_count]->path, o->path, err));
        o->size = in->objects[t->object_count]->size;
        o->presence = in->objects[t->object_count]->presence;
        if (!o->presence)
            OBV_TRY(read_sha(&in->objects[t->object_count]->sha256, o->sha256, err));
    }
    t->sizes_only = in->sizes_only;
    return OBV_OK;
}

static obv_code read_init(const Obvault__V1__InitRepository *in, obv_task *t, obv_err *err)
{
    OBV_TRY(copy_text(t->repository_uuid, sizeof t->repository_uuid, in->uuid, "uuid", true, err));
    OBV_TRY(copy_text(t->profile, sizeof t->profile, in->profile, "profile", false, err));
    OBV_TRY(copy_text(t->cluster_name, sizeof t->cluster_name, in->cluster_name, "cluster name", false, err));
    t->cluster_id = in->cluster_id;
    return OBV_OK;
}

static obv_code read_dropped(const Obvault__V1__FinishMetas *in, obv_task *t, obv_err *err)
{
    if (in->n_dropped > OBV_DROPPED_MAX)
        return obv_fail(err, OBV_E_INVAL, 0, "task: %zu dropped tables", in->n_dropped);
    t->dropped = calloc(in->n_dropped + 1, sizeof *t->dropped);
    if (!t->dropped)
        return obv_fail(err, OBV_E_NOMEM, 0, "task: out of memory");
    for (; t->dropped_count < in->n_dropped; t->dropped_count++) {
        t->dropped[t->dropped_count] = in->dropped[t->dropped_count];
        if (t->dropped_count && t->dropped[t->dropped_count] <= t->dropped[t->dropped_count - 1])
            return obv_fail(err, OBV_E_INVAL, 0, "task: dropped tables are not in order");
    }
    return OBV_OK;
}

static obv_code read_body(const Obvault__V1__Task *in, obv_task *t, obv_err *err)
{
    switch (in->body_case) {
    case OBVAULT__V1__TASK__BODY_BATCH:
        t->kind = OBV_TASK_BATCH;
        t->pass = in->batch->pass;
        t->round = in->batch->round;
        if (t->round == 0)
            return obv_fail(err, OBV_E_INVAL, 0, "task: a batch names no archive round");
        OBV_TRY(read_set(in->batch->set, in->batch->task_id, t, err));
        return read_keys(in->batch->pgs, in->batch->n_pgs, t->set.id.tenant_id, t, err);
    case OBVAULT__V1__TASK__BODY_FINISH_METAS:
        t->kind = OBV_TASK_FINISH_METAS;
        t->schema_version = in->finish_metas->schema_version;
        OBV_TRY(read_set(in->finish_metas->set, in->finish_metas->task_id, t, err));
        OBV_TRY(read_dropped(in->finish_metas, t, err));
        return read_keys(in->finish_metas->pgs, in->finish_metas->n_pgs, t->set.id.tenant_id, t, err);
    case OBVAULT__V1__TASK__BODY_PUT_FILES:
        t->kind = OBV_TASK_PUT_FILES;
        return read_files(in->put_files, t, err);
    case OBVAULT__V1__TASK__BODY_VERIFY_OBJECTS:
        t->kind = OBV_TASK_VERIFY_OBJECTS;
        return read_objects(in->verify_objects, t, err);
    case OBVAULT__V1__TASK__BODY_INIT_REPOSITORY:
        t->kind = OBV_TASK_INIT_REPOSITORY;
        return read_init(in->init_repository, t, err);
    default:
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "task: a kind this version does not know");
    }
}

obv_code obv_wire_task(const Obvault__V1__Task *in, obv_task **out, obv_err *err)
{
    OBV_AUTO(obv_task_freep) obv_task *t = calloc(1, sizeof *t);
    if (!t)
        return obv_fail(err, OBV_E_NOMEM, 0, "task: out of memory");
    OBV_TRY(copy_text(t->uid, sizeof t->uid, in->uid, "uid", false, err));
    (void)snprintf(t->job_id, sizeof t->job_id, "%.63s", in->job_id);
    t->epoch = in->epoch;
    t->deadline_s = in->deadline_s;
    OBV_TRY(read_body(in, t, err));
    *out = OBV_STEAL(t);
    return OBV_OK;
}

obv_code obv_wire_archive_page(const Obvault__V1__ArchivePage *in, obv_archive *a, obv_err *err)
{
    if (in->n_pgs > OBV_ARCHIVE_MAX_PAGE)
        return obv_fail(err, OBV_E_INVAL, 0, "archive: a page of %zu PGs", in->n_pgs);
    OBV_AUTO(obv_freep) obv_archive_assign *pgs = calloc(in->n_pgs + 1, sizeof *pgs);
    if (!pgs)
        return obv_fail(err, OBV_E_NOMEM, 0, "archive: out of memory");
    for (size_t i = 0; i < in->n_pgs; i++) {
        OBV_TRY(read_key(in->pgs[i]->pg, &pgs[i].pg, err));
        pgs[i].epoch = in->pgs[i]->epoch;
        pgs[i].first_data_file = in->pgs[i]->first_data_file;
        pgs[i].first_index_file = in->pgs[i]->first_index_file;
        pgs[i].from_log_one = in->pgs[i]->from_log_one;
    }
    const obv_archive_page page = {.revision = in->revision,
                                   .cluster_name = in->cluster_name,
                                   .cluster_id = in->cluster_id,
                                   .round = in->round,
                                   .piece = in->piece,
                                   .piece_date = in->piece_date,
                                   .total = in->total,
                                   .first = in->first,
                                   .pgs = pgs,
                                   .pg_count = in->n_pgs,
                                   .stop = in->stop,
                                   .flush_ms = in->flush_ms,
                                   .compressor = in->compressor};
    return obv_archive_apply(a, &page, err);
}
