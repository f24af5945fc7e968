#include "format/ob/metas.h"

enum { STORAGE_INFO_OLD = 2, STORAGE_INFO_VERSION = 3 }; /* the old one has three members more behind data_info */

/* An envelope of version 1 whose length field may have to be rewritten: remembers where it lies. */
static obv_rd enter(obv_rd *r, const uint8_t *base, size_t *len_at, uint64_t *body_len)
{
    const uint8_t *start = r->p;
    const obv_rd body = obv_rd_unis(r, 1);
    *body_len = (uint64_t)(body.end - body.p);
    *len_at = (size_t)(start - base) + 1; /* version 1 takes one byte */
    return body;
}

static void read_clog_info(obv_rd *r, obv_clog_info *out)
{
    obv_rd body = obv_rd_unis(r, 1);
    (void)obv_rd_vi32(&body); /* version */
    out->epoch_id = obv_rd_vi64(&body);
    out->proposal_id = obv_rd_proposal_id(&body);
    out->last_replay_log_id = obv_rd_vu64(&body);
    out->last_submit_ts = obv_rd_vi64(&body);
    out->accumulate_checksum = obv_rd_vi64(&body);
    out->replica_num = obv_rd_vi64(&body);
    out->membership_ts = obv_rd_vi64(&body);
    out->membership_log_id = obv_rd_vu64(&body);
    obv_rd_member_list(&body, &out->members);
    (void)obv_rd_proposal_id(&body); /* of the membership */
    r->bad |= body.bad;
}

static void read_data_info(obv_rd *body, obv_data_info *out, const uint8_t **schema_at)
{
    out->last_replay_log_id = obv_rd_vu64(body);
    out->publish_version = obv_rd_vi64(body);
    *schema_at = body->p;
    out->schema_version = obv_rd_vi64(body);
    /* It is to be rewritten: it must be there, in the only form that OceanBase writes. */
    body->bad |= (size_t)(body->p - *schema_at) != obv_vu64_len((uint64_t)out->schema_version);
    (void)obv_rd_vu64(body); /* for_filter_log_compat */
    out->created_by_minor_freeze = obv_rd_bool(body);
    out->last_replay_log_ts = obv_rd_vi64(body);
}

static void skip_split_info(obv_rd *r)
{
    obv_rd body = obv_rd_unis(r, 1);
    (void)obv_rd_vi64(&body); /* schema version */
    obv_rd pair = obv_rd_unis(&body, 1);
    (void)obv_rd_pkey(&pair);
    const size_t targets = obv_rd_count(&pair, OBV_PG_PARTITIONS_MAX, OBV_PKEY_LEN);
    (void)obv_rd_bytes(&pair, targets * OBV_PKEY_LEN);
    for (int i = 0; i < 5; i++) /* type, version, source log id and time, time received */
        (void)obv_rd_vi64(&body);
    r->bad |= body.bad || pair.bad;
}

obv_code obv_pg_meta_parse(obv_span s, obv_pg_meta *out, obv_err *err)
{
    obv_pg_meta m = {.bytes = s};
    obv_rd r = obv_rd_of(s);
    obv_rd body = enter(&r, s.p, &m.enclosing_len_at[0], &m.enclosing_body_len[0]);
    m.key = obv_rd_pkey(&body);
    m.is_restore = (int16_t)obv_rd_vi32(&body);
    m.replica_type = obv_rd_vi32(&body);
    obv_rd_skip_words(&body, 1); /* replica property */
    m.split_state = obv_rd_vi64(&body);
    m.migrate_status = obv_rd_vi32(&body);
    (void)obv_rd_vi64(&body); /* migrate timestamp */

    obv_rd storage = enter(&body, s.p, &m.enclosing_len_at[1], &m.enclosing_body_len[1]);
    const int32_t version = obv_rd_vi32(&storage);
    read_clog_info(&storage, &m.clog);
    obv_rd data = enter(&storage, s.p, &m.enclosing_len_at[2], &m.enclosing_body_len[2]);
    const uint8_t *schema_at = data.p;
    read_data_info(&data, &m.data, &schema_at);
    m.schema_version_at = (size_t)(schema_at - s.p);
    if (version == STORAGE_INFO_OLD) {
        (void)obv_rd_bool(&storage);         /* from 1.4 */
        obv_rd_skip_words(&storage, 1);      /* version */
        (void)obv_rd_unis_span(&storage, 1); /* what was to recover */
    }
    (void)obv_rd_vi64(&storage); /* pg_file_id */

    skip_split_info(&body);
    m.partitions_at = (size_t)(body.p - s.p);
    m.partition_count = obv_rd_count(&body, OBV_PG_PARTITIONS_MAX, OBV_PKEY_LEN);
    m.partitions = obv_rd_bytes(&body, m.partition_count * OBV_PKEY_LEN);
    obv_rd_skip_words(&body, 4); /* report status */
    m.create_schema_version = obv_rd_vi64(&body);
    (void)obv_rd_vi64(&body); /* ddl_seq_num */
    m.create_timestamp = obv_rd_vi64(&body);
    (void)obv_rd_vi64(&body); /* create_frozen_version */
    (void)obv_rd_vu64(&body); /* last_restore_log_id */
    (void)obv_rd_vi64(&body); /* restore_snapshot_version */
    (void)obv_rd_vi64(&body); /* last_restore_log_ts */
    (void)obv_rd_vi64(&body); /* restore_schema_version */

    r.bad |= body.bad || storage.bad || data.bad;
    OBV_TRY(obv_rd_done(&r, "PG meta", err));
    if (version != STORAGE_INFO_VERSION && version != STORAGE_INFO_OLD)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "PG meta: storage info of version %d", (int)version);
    if (!obv_pg_key_valid(&m.key))
        return obv_fail(err, OBV_E_CORRUPT, 0, "PG meta: its key is not valid");
    *out = m;
    return OBV_OK;
}

obv_pg_key obv_pg_meta_partition(const obv_pg_meta *m, size_t i)
{
    obv_assert(i < m->partition_count);
    obv_rd r = obv_rd_of((obv_span){m->partitions.p + i * OBV_PKEY_LEN, OBV_PKEY_LEN});
    return obv_rd_pkey(&r);
}

obv_code obv_pg_meta_put_changed(const obv_pg_meta *m, int64_t v, obv_span partitions, obv_buf *out, obv_err *err)
{
    const size_t old_len = obv_vu64_len((uint64_t)m->data.schema_version);
    const uint64_t grown = obv_vu64_len((uint64_t)v) - old_len; /* wraps when it shrinks, and so do the sums below */
    const uint64_t count = partitions.len / OBV_PKEY_LEN;
    const size_t behind = (size_t)(m->partitions.p + m->partitions.len - m->bytes.p);
    const uint64_t members = obv_vu64_len(count) + partitions.len - (behind - m->partitions_at);
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) { /* each length: what is before it as it was, then the new one */
        const size_t version_at = m->enclosing_len_at[i] - 1;
        obv_buf_append(out, m->bytes.p + at, version_at - at);
        obv_put_unis_header(out, 1, m->enclosing_body_len[i] + grown + (i == 0 ? members : 0));
        at = version_at + obv_unis_header_len(1);
    }
    obv_buf_append(out, m->bytes.p + at, m->schema_version_at - at);
    obv_put_vi64(out, v);
    at = m->schema_version_at + old_len;
    obv_buf_append(out, m->bytes.p + at, m->partitions_at - at);
    obv_put_vu64(out, count);
    obv_put_span(out, partitions);
    obv_buf_append(out, m->bytes.p + behind, m->bytes.len - behind);
    return obv_buf_check(out, "PG meta with changes", err);
}

obv_code obv_pg_meta_put_schema_version(const obv_pg_meta *m, int64_t v, obv_buf *out, obv_err *err)
{
    return obv_pg_meta_put_changed(m, v, m->partitions, out, err);
}

void obv_rd_partition_store_meta(obv_rd *r, obv_partition_store_meta *out)
{
    const uint8_t *start = r->p;
    obv_rd body = obv_rd_unis(r, 2);
    out->pkey = obv_rd_pkey(&body);
    obv_rd_skip_words(&body, 7); /* report status */
    out->multi_version_start = obv_rd_vi64(&body);
    out->data_table_id = obv_rd_vu64(&body);
    out->create_schema_version = obv_rd_vi64(&body);
    out->create_timestamp = obv_rd_vi64(&body);
    r->bad |= body.bad;
    out->bytes = (obv_span){start, (size_t)(r->p - start)};
}

obv_code obv_partition_store_meta_parse(obv_span s, obv_partition_store_meta *out, obv_err *err)
{
    obv_rd r = obv_rd_of(s);
    obv_partition_store_meta m;
    obv_rd_partition_store_meta(&r, &m);
    OBV_TRY(obv_rd_done(&r, "partition store meta", err));
    *out = m;
    return OBV_OK;
}

#define COLUMN_META_MIN 9u /* envelope and three varints */

static obv_span read_column_metas(obv_rd *r, size_t *count)
{
    *count = obv_rd_count(r, OBV_SSTABLE_COLUMNS_MAX, COLUMN_META_MIN);
    const uint8_t *start = r->p;
    for (size_t i = 0; i < *count && !r->bad; i++) {
        obv_rd_item(r);
        obv_rd_skip_words(r, 3);
    }
    return (obv_span){start, (size_t)(r->p - start)};
}

void obv_rd_sstable_meta(obv_rd *r, obv_sstable_meta *out)
{
    const uint8_t *start = r->p;
    obv_rd b = obv_rd_unis(r, 1);
    out->index_id = obv_rd_vu64(&b);
    out->row_count = obv_rd_vu64(&b);
    out->occupy_size = obv_rd_vu64(&b);
    out->data_checksum = obv_rd_vi64(&b);
    out->row_checksum = obv_rd_vi64(&b);
    out->data_version = obv_rd_vi64(&b);
    out->rowkey_column_count = obv_rd_vi64(&b);
    out->table_type = obv_rd_vi64(&b); /* of the schema, not of the sstable */
    (void)obv_rd_vi64(&b);             /* available_version */
    out->macro_block_count = obv_rd_vu64(&b);
    (void)obv_rd_vi64(&b); /* use_old_macro_block_count */
    out->column_count = obv_rd_vi64(&b);
    out->column_metas = read_column_metas(&b, &out->column_meta_count);
    (void)obv_rd_vi64(&b); /* macro_block_second_index */
    (void)obv_rd_vi64(&b); /* total_sstable_count */
    (void)obv_rd_vi64(&b); /* index_type */
    out->lob_macro_block_count = obv_rd_vu64(&b);
    (void)obv_rd_vi64(&b); /* lob_use_old_macro_block_count */
    out->format_version = obv_rd_vi64(&b);
    (void)obv_rd_vi64(&b); /* max_logic_block_index */
    (void)obv_rd_bool(&b); /* build_on_snapshot */
    (void)obv_rd_vi64(&b); /* create_index_base_version */
    out->schema_version = obv_rd_vi64(&b);
    (void)obv_rd_vi64(&b); /* progressive_merge_start_version */
    (void)obv_rd_vi64(&b); /* progressive_merge_end_version */
    out->create_snapshot_version = obv_rd_vi64(&b);
    out->checksum_method = obv_rd_vi64(&b);
    size_t new_columns = 0;
    (void)read_column_metas(&b, &new_columns);
    (void)obv_rd_vi64(&b); /* progressive_merge_round */
    (void)obv_rd_vi64(&b); /* progressive_merge_step */
    (void)obv_rd_vi32(&b); /* table mode */
    out->logical_data_version = obv_rd_vi64(&b);
    (void)obv_rd_bool(&b); /* has_compact_row */
    out->pg_key = obv_rd_pkey(&b);
    (void)obv_rd_u8(&b); /* multi_version_rowkey_type */
    out->contain_uncommitted_row = obv_rd_bool(&b);
    out->upper_trans_version = obv_rd_vi64(&b);
    out->max_merged_trans_version = obv_rd_vi64(&b);
    out->end_log_id = obv_rd_vu64(&b);
    r->bad |= b.bad;
    out->bytes = (obv_span){start, (size_t)(r->p - start)};
}

obv_code obv_sstable_meta_check(const obv_sstable_meta *m, obv_err *err)
{
    if (m->row_count > INT64_MAX || m->occupy_size > INT64_MAX || m->data_checksum < 0 || m->row_checksum < 0)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable meta: a negative count or checksum");
    if (m->macro_block_count > OBV_SSTABLE_BLOCKS_MAX || m->lob_macro_block_count > OBV_SSTABLE_BLOCKS_MAX)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable meta: an impossible number of macroblocks");
    if (m->column_count < 0 || (uint64_t)m->column_count != m->column_meta_count || m->rowkey_column_count < 0 ||
        m->rowkey_column_count > m->column_count)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable meta: column counts disagree");
    if (m->format_version != 5 && m->format_version != 6)
        return obv_fail(err, OBV_E_UNSUPPORTED, 0, "sstable meta: format version %lld", (long long)m->format_version);
    if (m->format_version == 6 ? m->logical_data_version <= 0 : m->logical_data_version < m->data_version)
        return obv_fail(err, OBV_E_CORRUPT, 0, "sstable meta: logical data version %lld of data version %lld",
                        (long long)m->logical_data_version, (long long)m->data_version);
    return OBV_OK;
}

obv_code obv_sstable_meta_parse(obv_span s, obv_sstable_meta *out, obv_err *err)
{
    obv_rd r = obv_rd_of(s);
    obv_sstable_meta m;
    obv_rd_sstable_meta(&r, &m);
    OBV_TRY(obv_rd_done(&r, "sstable meta", err));
    OBV_TRY(obv_sstable_meta_check(&m, err));
    *out = m;
    return OBV_OK;
}
