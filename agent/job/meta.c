#define OBV_LOG_MOD "meta"
#include "job/meta.h"

#include "base/fault.h"
#include "base/log.h"
#include "format/media/meta_records.h"
#include "job/object.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    RECORD_MAX = 4 << 20,
    OUT_MAX = 16 << 20, /* bytes of finished blocks between two writes */
};

/* ---- FINISH_METAS */

struct finish {
    const obv_meta_env *env;
    const obv_task *task;
    const obv_cancel *cancel;
    obv_media_root root;
    obv_object_put meta, index;
    obv_meta_files files;
    obv_buf meta_out, index_out;
};

static obv_code hand_out(obv_object_put *to, obv_buf *b, obv_err *err)
{
    OBV_TRY(obv_buf_check(b, "metas", err));
    const obv_code code = obv_object_write(to, obv_buf_span(b), err);
    b->len = 0;
    return code;
}

/* From the journal; what another agent copied lies in the repository. */
static obv_code get_record(const struct finish *f, const obv_pg_key *pg, obv_buf *out, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf record = obv_buf_heap(RECORD_MAX);
    obv_meta_object object;
    obv_path path;
    obv_code code = obv_journal_meta_get(f->env->journal, &f->task->set, f->task->task_id, pg, out, err);
    if (code != OBV_E_NOT_FOUND)
        return code;
    obv_path_pg_record(&f->root, &f->task->set.id, pg, f->task->task_id, &path);
    code = obv_store_get_all(f->env->store, path.s, RECORD_MAX, &record, f->cancel, err);
    if (code == OBV_E_NOT_FOUND)
        return obv_fail(err, OBV_E_NOT_FOUND, 0,
                        "neither this agent nor the repository holds metas of PG %" PRIu64 "/%" PRId64
                        " in task %" PRId64,
                        pg->table_id, obv_pg_key_partition_id(pg), f->task->task_id);
    OBV_TRY(code);
    if (obv_meta_object_parse(obv_buf_span(&record), &object, err) != OBV_OK)
        return obv_wrap(err, "%s", path.s);
    obv_buf_append(out, object.body.p, object.body.len);
    return obv_buf_check(out, "PG record", err);
}

/* The records' task is done: what they say is in the meta files now. */
static void remove_records(const struct finish *f)
{
    obv_path *paths = calloc(f->task->pg_count, sizeof *paths);
    const char **keys = calloc(f->task->pg_count, sizeof *keys);
    obv_err err = {0};
    for (size_t i = 0; paths && keys && i < f->task->pg_count; i++) {
        obv_path_pg_record(&f->root, &f->task->set.id, &f->task->pgs[i], f->task->task_id, &paths[i]);
        keys[i] = paths[i].s;
    }
    if (!paths || !keys || obv_store_remove(f->env->store, keys, f->task->pg_count, NULL, f->cancel, &err) != OBV_OK)
        OBV_WARN_OF(&err, "records of task %" PRId64 " stay below obvault/records", f->task->task_id);
    free(paths);
    free(keys);
}

static obv_code add_pg(struct finish *f, const obv_pg_key *pg, obv_meta_place *place, obv_err *err)
{
    OBV_AUTO(obv_buf_fini) obv_buf body = obv_buf_heap(RECORD_MAX);
    OBV_AUTO(obv_buf_fini) obv_buf final = obv_buf_heap(RECORD_MAX);
    obv_meta_index entry = {0};
    obv_record_counts counts = {0};
    const obv_record_change change = {.schema_version = f->task->schema_version,
                                      .dropped = f->task->dropped,
                                      .dropped_count = f->task->dropped_count};
    OBV_TRY(get_record(f, pg, &body, err));
    OBV_TRY(obv_pg_record_body_rewrite(obv_buf_span(&body), &change, &counts, &final, err));
    OBV_TRY(obv_meta_files_add(&f->files, pg, obv_buf_span(&final), &f->meta_out, &f->index_out, &entry, err));
    OBV_TRY(hand_out(&f->meta, &f->meta_out, err));
    OBV_TRY(hand_out(&f->index, &f->index_out, err));
    *place = (obv_meta_place){.pg = *pg,
                              .offset = (int64_t)entry.offset,
                              .len = (int64_t)entry.len,
                              .partitions = counts.partitions,
                              .blocks = counts.blocks};
    return OBV_OK;
}

static obv_code finish_files(struct finish *f, obv_task_result *out, obv_err *err)
{
    obv_path meta;
    obv_path index;
    obv_path_meta_file(&f->root, &f->task->set.id, f->task->task_id, &meta);
    obv_path_meta_index_file(&f->root, &f->task->set.id, f->task->task_id, &index);
    OBV_TRY(obv_object_begin(&f->meta, f->env->store, meta.s, true, f->cancel, err));
    OBV_TRY(obv_object_begin(&f->index, f->env->store, index.s, true, f->cancel, err));
    for (size_t i = 0; i < f->task->pg_count; i++)
        OBV_TRY(add_pg(f, &f->task->pgs[i], &out->places[i], err));
    OBV_TRY(obv_meta_files_end(&f->files, &f->meta_out, &f->index_out, err));
    OBV_TRY(hand_out(&f->meta, &f->meta_out, err));
    OBV_TRY(hand_out(&f->index, &f->index_out, err));
    OBV_FAULT("backup.before_meta_file");
    OBV_TRY(obv_object_commit(&f->meta, &out->objects[0], err));
    OBV_FAULT("backup.meta_file_stored");
    OBV_TRY(obv_object_commit(&f->index, &out->objects[1], err));
    OBV_FAULT("backup.meta_index_stored");
    out->place_count = f->task->pg_count;
    out->object_count = 2;
    out->task_id = f->task->task_id;
    return OBV_OK;
}

/* The report names objects from the set's folder on. */
static void cut_set_dir(const struct finish *f, obv_stored_object *o)
{
    obv_path dir;
    obv_path_set_dir(&f->root, &f->task->set.id, &dir);
    const size_t len = strlen(dir.s);
    if (strncmp(o->path, dir.s, len) == 0 && o->path[len] == '/')
        memmove(o->path, o->path + len + 1, strlen(o->path + len + 1) + 1);
}

obv_code obv_meta_finish(const obv_meta_env *env, const obv_task *t, const obv_cancel *c, obv_task_result *out,
                         obv_err *err)
{
    struct finish f = {.env = env,
                       .task = t,
                       .cancel = c,
                       .files = obv_meta_files_of(t->task_id),
                       .meta_out = obv_buf_heap(OUT_MAX),
                       .index_out = obv_buf_heap(OUT_MAX)};
    OBV_TRY(obv_media_root_init(&f.root, t->set.cluster_name, (int64_t)t->set.cluster_id, err));
    out->places = calloc(t->pg_count + 1, sizeof *out->places);
    if (!out->places)
        return obv_fail(err, OBV_E_NOMEM, 0, "metas: out of memory");
    const obv_code code = finish_files(&f, out, err);
    obv_object_fini(&f.meta);
    obv_object_fini(&f.index);
    obv_meta_files_fini(&f.files);
    obv_buf_fini(&f.meta_out);
    obv_buf_fini(&f.index_out);
    if (code != OBV_OK) {
        obv_task_result_fini(out);
        return obv_wrap(err, "metas of task %" PRId64, t->task_id);
    }
    remove_records(&f);
    cut_set_dir(&f, &out->objects[0]);
    cut_set_dir(&f, &out->objects[1]);
    return OBV_OK;
}

/* ---- PUT_FILES */

static obv_code write_content(const obv_meta_env *env, obv_object_put *put, const obv_put_file *file, uint32_t index,
                              const obv_cancel *c, obv_err *err)
{
    if (file->content || file->size == 0)
        return obv_object_write(put, obv_span_of(file->content, file->size), err);
    OBV_AUTO(obv_buf_fini) obv_buf chunk = obv_buf_heap(OBV_CHUNK_MAX);
    for (uint64_t at = 0; at < file->size; at += chunk.len) {
        chunk.len = 0;
        OBV_TRY(env->chunk(env->chunk_ctx, index, at, &chunk, c, err));
        if (chunk.len == 0 || chunk.len > file->size - at)
            return obv_fail(err, OBV_E_CORRUPT, 0, "content of %s: %zu bytes at %" PRIu64 " of %" PRIu64, file->path,
                            chunk.len, at, file->size);
        OBV_TRY(obv_object_write(put, obv_buf_span(&chunk), err));
    }
    return OBV_OK;
}

/* Size and digest are proven before the file gets its name. */
static obv_code check_content(obv_object_put *put, const obv_put_file *file, obv_err *err)
{
    uint8_t sha[OBV_SHA_LEN];
    OBV_TRY(obv_sha256_final(put->sha, sha, err));
    if (put->size != file->size || memcmp(sha, file->sha256, sizeof sha) != 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "content of %s is not what its digest says", file->path);
    return OBV_OK;
}

static obv_code put_one(const obv_meta_env *env, const obv_put_file *file, uint32_t index, const obv_cancel *c,
                        obv_err *err)
{
    obv_object_put put;
    OBV_FAULT("backup.before_put_file");
    obv_code code = obv_object_begin(&put, env->store, file->path, file->if_absent, c, err);
    if (code == OBV_OK)
        code = write_content(env, &put, file, index, c, err);
    if (code == OBV_OK)
        code = check_content(&put, file, err);
    if (code == OBV_OK)
        code = obv_store_put_commit(OBV_STEAL(put.put), err);
    obv_object_fini(&put);
    if (code == OBV_E_EXISTS) {
        obv_stored_object want = {.size = file->size};
        (void)strcpy(want.path, file->path);
        memcpy(want.sha256, file->sha256, sizeof want.sha256);
        obv_err why = {0};
        if (obv_object_verify(env->store, &want, c, &why) == OBV_OK)
            code = OBV_OK;
    }
    OBV_FAULT("backup.put_file_stored");
    return code;
}

obv_code obv_meta_put_files(const obv_meta_env *env, const obv_task *t, const obv_cancel *c,
                            obv_task_progress *progress, obv_err *err)
{
    for (size_t i = 0; i < t->file_count; i++) {
        OBV_TRY(obv_cancel_check(c, "put files", err));
        OBV_TRY(put_one(env, &t->files[i], (uint32_t)i, c, err));
        progress->bytes_written += t->files[i].size;
    }
    return OBV_OK;
}

/* ---- the others */

obv_code obv_meta_init_repository(const obv_meta_env *env, const obv_task *t, const obv_cancel *c, obv_repository *made,
                                  obv_task_result *out, obv_err *err)
{
    obv_repository want = {.cluster_id = t->cluster_id};
    (void)snprintf(want.uuid, sizeof want.uuid, "%s", t->repository_uuid);
    (void)snprintf(want.profile, sizeof want.profile, "%s", t->profile);
    (void)snprintf(want.cluster_name, sizeof want.cluster_name, "%s", t->cluster_name);
    OBV_TRY(obv_repository_init(env->store, &want, c, made, err));
    (void)snprintf(out->repository_uuid, sizeof out->repository_uuid, "%s", made->uuid);
    (void)snprintf(out->profile, sizeof out->profile, "%s", made->profile);
    out->capabilities = made->capabilities;
    return OBV_OK;
}

static obv_code verify_one(const obv_meta_env *env, const obv_stored_object *o, bool sizes_only, const obv_cancel *c,
                           obv_err *err)
{
    obv_store_object there;
    if (!sizes_only && !o->presence)
        return obv_object_verify(env->store, o, c, err);
    OBV_TRY(obv_store_head(env->store, o->path, &there, c, err));
    if (!o->presence && there.size != o->size)
        return obv_fail(err, OBV_E_CORRUPT, 0, "%s has %llu bytes, %llu were stored", o->path,
                        (unsigned long long)there.size, (unsigned long long)o->size);
    return OBV_OK;
}

obv_code obv_meta_verify(const obv_meta_env *env, const obv_task *t, const obv_cancel *c, obv_task_progress *progress,
                         obv_err *err)
{
    obv_err first = {0};
    size_t wrong = 0;
    for (size_t i = 0; i < t->object_count; i++) {
        obv_err one = {0};
        OBV_TRY(obv_cancel_check(c, "verify", err));
        const obv_code code = verify_one(env, &t->objects[i], t->sizes_only, c, &one);
        if (code != OBV_OK && code != OBV_E_NOT_FOUND && code != OBV_E_CORRUPT) {
            *err = one; /* nothing is known of the rest */
            return code;
        }
        if (code != OBV_OK && wrong++ == 0)
            first = one;
        progress->blocks_done++;
        progress->bytes_read += t->sizes_only || t->objects[i].presence ? 0 : t->objects[i].size;
    }
    progress->blocks_total = wrong;
    if (wrong == 0)
        return OBV_OK;
    (void)obv_fail(err, OBV_E_CORRUPT, 0, "%s%.400s", first.code == OBV_E_NOT_FOUND ? "missing: " : "", first.msg);
    return obv_hint(err,
                    "%zu of %zu objects are missing or not what was stored: nothing that needs them can be restored",
                    wrong, t->object_count);
}
