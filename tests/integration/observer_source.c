/* observer_source - copies PGs from a running server and prints what it saw, one JSON line a PG
 *
 * usage: observer_source <ip> <rpc port> <cluster id> < lines "<table id> <partition id>"
 * A line: {"pg", "code", "sys", "msg"} or {"pg", "code":0, "tables", "blocks", "bytes", "partitions", "sums_match",
 * ...}. Every block has been validated by the driver; row counts and sizes are summed and compared with the sstables'
 * metas, and the PG's meta record is made as the media want it and read back.
 */
#include "base/clock.h"
#include "format/media/meta_records.h"
#include "format/ob/keys.h"
#include "format/ob/macroblock.h"
#include "source/observer.h"

#include <inttypes.h>
#include <stdio.h>

typedef struct sums {
    uint64_t rows, bytes, blocks;
} sums;

static bool sums_match(const obv_source_metas *m, const sums *s)
{
    for (size_t i = 0; i < m->table_count; i++)
        if (s[i].rows != m->tables[i].row_count || s[i].bytes != m->tables[i].occupy_bytes ||
            s[i].blocks != m->tables[i].block_count)
            return false;
    return true;
}

/* The record as the journal would keep it, raised to another schema version, read back. */
static bool record_is_good(const obv_source_metas *m)
{
    obv_record_partition *parts = calloc(m->partition_count ? m->partition_count : 1, sizeof *parts);
    obv_record_table *tables = calloc(m->table_count ? m->table_count : 1, sizeof *tables);
    obv_err err = {0};
    bool good = parts && tables;
    size_t at = 0;
    for (size_t p = 0; good && p < m->partition_count; p++) {
        parts[p] = (obv_record_partition){m->partitions[p].store_meta, tables + at, 0};
        for (; at < m->table_count && m->tables[at].partition == p; at++, parts[p].table_count++)
            tables[at] = (obv_record_table){m->tables[at].sstable_meta, m->tables[at].table_key};
    }
    obv_buf body = obv_buf_heap(64u << 20);
    obv_buf raised = obv_buf_heap(64u << 20);
    obv_pg_record_reader rec;
    const int64_t version = m->data_schema_version + 1000;
    good = good && at == m->table_count &&
           obv_put_pg_record_body(&body, &(obv_pg_record){m->pg_meta, parts, m->partition_count}, 0, &err) == OBV_OK &&
           obv_pg_record_body_rewrite(obv_buf_span(&body), &(obv_record_change){.schema_version = version}, NULL,
                                      &raised, &err) == OBV_OK &&
           obv_pg_record_parse(obv_buf_span(&raised), &rec, &err) == OBV_OK && rec.pg.data.schema_version == version;
    for (size_t p = 0; good && p < rec.partition_count; p++) {
        obv_pg_record_part part;
        obv_sstable_meta meta;
        obv_table_key key;
        good = obv_pg_record_next_partition(&rec, &part, &err) == OBV_OK;
        for (size_t t = 0; good && t < part.table_count; t++)
            good = obv_pg_record_next_table(&part, &meta, &key, &err) == OBV_OK;
    }
    obv_buf_fini(&body);
    obv_buf_fini(&raised);
    free(parts);
    free(tables);
    return good;
}

static void print_tables(const obv_source_metas *m)
{
    for (size_t i = 0; i < m->table_count; i++) {
        obv_table_key k;
        if (obv_table_key_parse(m->tables[i].table_key, &k, NULL) == OBV_OK)
            printf("%s[%" PRIu64 ",%d,%" PRId64 ",%" PRIu64 "]", i ? "," : "", k.table_id, (int)k.type,
                   k.versions.snapshot_version, m->tables[i].block_count);
    }
}

static obv_code copy(obv_source *s, const obv_pg_key *key, uint8_t *buf, obv_err *err)
{
    char text[OBV_PKEY_TEXT_MAX];
    obv_source_pg *pg = NULL;
    OBV_TRY(s->ops->open_pg(s, key, NULL, &pg, err));
    const obv_source_metas *m = s->ops->metas(pg);
    sums *sum = calloc(m->table_count ? m->table_count : 1, sizeof *sum);
    sums all = {0};
    obv_source_block b;
    obv_code code = sum ? OBV_OK : obv_fail(err, OBV_E_NOMEM, 0, "sums");
    while (code == OBV_OK && (code = s->ops->next_block(pg, buf, OBV_SOURCE_BLOCK_MAX, &b, err)) == OBV_OK) {
        obv_macro_meta mm;
        obv_macro_schema ms;
        code = obv_macro_full_meta_parse(b.meta, &mm, &ms, err);
        sum[b.table].rows += code == OBV_OK ? (uint64_t)mm.row_count : 0;
        sum[b.table].bytes += b.data.len;
        sum[b.table].blocks++;
        all.bytes += b.data.len;
        all.blocks++;
    }
    if (code == OBV_E_NOT_FOUND) {
        printf("{\"pg\":\"%s\",\"code\":0,\"partitions\":%zu,\"tables\":[", obv_pg_key_text(key, text),
               m->partition_count);
        print_tables(m);
        printf("],\"blocks\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"publish\":%" PRId64 ",\"lower_bound\":%" PRId64
               ",\"last_replay_log_id\":%" PRIu64 ",\"sums_match\":%s,\"record\":%s}\n",
               all.blocks, all.bytes, m->publish_version, m->lower_bound, m->data_last_replay_log_id,
               sums_match(m, sum) ? "true" : "false", record_is_good(m) ? "true" : "false");
        code = OBV_OK;
    }
    free(sum);
    s->ops->close_pg(pg);
    return code;
}

int main(int argc, char **argv)
{
    obv_err err = {0};
    obv_source *s = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: observer_source <ip> <rpc port> <cluster id> < lines \"<table id> <partition id>\"\n");
        return 2;
    }
    const obv_observer_config cfg = {
        .ip = argv[1], .rpc_port = (uint16_t)strtoul(argv[2], NULL, 10), .cluster_id = strtoll(argv[3], NULL, 10)};
    uint8_t *buf = malloc(OBV_SOURCE_BLOCK_MAX);
    if (!buf || obv_observer_open(&cfg, &s, &err) != OBV_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    uint64_t table = 0;
    int64_t partition = 0;
    while (scanf("%" SCNu64 " %" SCNd64, &table, &partition) == 2) {
        const obv_pg_key key = obv_pg_key_from_partition_id(table, partition);
        err = (obv_err){0};
        const obv_code code = copy(s, &key, buf, &err);
        if (code != OBV_OK)
            printf("{\"pg\":\"%" PRIu64 "/%" PRId64 "\",\"code\":%d,\"sys\":%d,\"msg\":\"%s\"}\n", table, partition,
                   (int)code, (int)err.sys, err.msg);
        fflush(stdout);
    }
    s->ops->close(s);
    free(buf);
    return 0;
}
