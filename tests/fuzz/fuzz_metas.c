/* serialized metas; what parses must come out of the emitters again */
#include "format/media/meta_records.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

static void try_pg_meta(obv_span in)
{
    obv_pg_meta m;
    obv_pg_meta again;
    if (obv_pg_meta_parse(in, &m, NULL) != OBV_OK)
        return;
    obv_buf b = obv_buf_heap(in.len + 64);
    check(obv_pg_meta_put_schema_version(&m, INT64_MAX, &b, NULL) == OBV_OK);
    check(obv_pg_meta_parse(obv_buf_span(&b), &again, NULL) == OBV_OK);
    check(again.data.schema_version == INT64_MAX && again.partition_count == m.partition_count);
    obv_buf_fini(&b);
}

static void try_record(obv_span in)
{
    obv_pg_record_reader rec;
    if (obv_pg_record_parse(in, &rec, NULL) != OBV_OK)
        return;
    for (size_t i = 0; i < rec.partition_count; i++) {
        obv_pg_record_part p;
        if (obv_pg_record_next_partition(&rec, &p, NULL) != OBV_OK)
            return;
        for (size_t t = 0; t < p.table_count; t++) {
            obv_sstable_meta meta;
            obv_table_key key;
            if (obv_pg_record_next_table(&p, &meta, &key, NULL) != OBV_OK)
                return;
        }
    }
    obv_buf b = obv_buf_heap(in.len + 64);
    const uint64_t dropped[] = {in.len ? in.p[in.len / 2] : 0, UINT64_C(1001) << 40 | 50001};
    const obv_record_change change = {.schema_version = 5, .dropped = dropped, .dropped_count = 2};
    obv_record_counts counts;
    (void)!obv_pg_record_body_rewrite(in, &change, &counts, &b, NULL);
    obv_buf_fini(&b);
}

static void try_table_key(obv_span in)
{
    obv_table_key key;
    obv_table_key again;
    if (obv_table_key_parse(in, &key, NULL) != OBV_OK)
        return;
    uint8_t room[256];
    obv_buf b = obv_buf_fixed(room, sizeof room);
    obv_put_table_key(&b, &key);
    check(!b.failed && obv_table_key_parse(obv_buf_span(&b), &again, NULL) == OBV_OK);
    check(obv_table_key_equal(&key, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const obv_span in = {data, size};
    obv_partition_store_meta store;
    obv_sstable_meta sstable;
    obv_meta_object o;
    try_pg_meta(in);
    try_record(in);
    try_table_key(in);
    (void)!obv_partition_store_meta_parse(in, &store, NULL);
    (void)!obv_sstable_meta_parse(in, &sstable, NULL);
    if (obv_meta_object_parse(in, &o, NULL) == OBV_OK)
        try_record(o.body);
    return 0;
}
