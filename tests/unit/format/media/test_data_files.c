/* meta files, macroblock files and their indexes: OceanBase's bytes are read, and made again */
#include "format/media/macro_index.h"
#include "format/media/meta_records.h"
#include "format/media/paths.h"
#include "format/ob/keys.h"
#include "golden.h"

/* ---- macroblock files */

typedef struct file_copy {
    obv_span data;     /* the macroblock file, or empty */
    obv_buf index_out; /* the index made again */
    obv_macro_index_writer writer;
    size_t tables, entries;
    obv_buf data_out;
    bool validate;
} file_copy;

static int copy_table(void *ctx, const obv_table_key *key, obv_span bytes, uint64_t total)
{
    file_copy *c = ctx;
    obv_err err = {0};
    obv_buf again = obv_buf_heap(1024);
    obv_put_table_key(&again, key);
    assert_span_equal(obv_buf_span(&again), bytes);
    obv_buf_fini(&again);
    assert_code(obv_macro_index_table(&c->writer, bytes, total, &c->index_out, &err), OBV_OK, &err);
    c->tables++;
    return 0;
}

static int copy_entry(void *ctx, const obv_macro_entry *e)
{
    file_copy *c = ctx;
    obv_err err = {0};
    assert_code(obv_macro_index_entry(&c->writer, e, &c->index_out, &err), OBV_OK, &err);
    c->entries++;
    assert_true(e->offset + e->len <= c->data.len);
    const obv_span block = {c->data.p + e->offset, (size_t)e->len};
    obv_span meta;
    obv_span data;
    assert_code(obv_macro_frame_parse(block, &meta, &data, &err), OBV_OK, &err);

    obv_macro_meta m;
    obv_macro_schema s;
    assert_code(obv_macro_full_meta_parse(meta, &m, &s, &err), OBV_OK, &err);
    assert_int_equal(m.data_seq, e->data_seq);
    assert_int_equal(m.data_version, e->data_version);
    if (c->validate)
        assert_code(obv_macro_block_check(&m, &s, data, &err), OBV_OK, &err);

    uint8_t tail_room[OBV_MACRO_TAIL_MAX];
    obv_buf head = obv_buf_heap(OBV_MACRO_HEAD_MAX);
    obv_buf tail = obv_buf_fixed(tail_room, sizeof tail_room);
    obv_macro_frame f;
    assert_code(obv_macro_frame_make(meta, data, &head, &tail, &f, &err), OBV_OK, &err);
    assert_int_equal(f.total, e->len);
    assert_int_equal(f.head_len + data.len + f.tail_len, f.total);
    obv_buf_append(&c->data_out, head.data, head.len);
    obv_buf_append(&c->data_out, data.p, data.len);
    obv_buf_append(&c->data_out, tail.data, tail.len);
    obv_buf_fini(&head);
    return 0;
}

static void assert_files_are_made_again(const char *data, const char *index, size_t tables, size_t entries)
{
    obv_err err = {0};
    file_copy c = {.data = golden_vector(data),
                   .index_out = obv_buf_heap(1 << 20),
                   .writer = obv_macro_index_writer_of(),
                   .data_out = obv_buf_heap(1 << 20),
                   .validate = true};
    const obv_macro_index_visitor v = {.table = copy_table, .entry = copy_entry, .ctx = &c};
    const obv_span file = golden_vector(index);
    assert_code(obv_macro_index_each(file, &v, &err), OBV_OK, &err);
    assert_int_equal(c.tables, tables);
    assert_int_equal(c.entries, entries);
    assert_code(obv_macro_index_end(&c.writer, &c.index_out, &err), OBV_OK, &err);
    assert_span_equal(obv_buf_span(&c.index_out), file);
    obv_put_end_mark(&c.data_out);
    assert_span_equal(obv_buf_span(&c.data_out), c.data);
    obv_macro_index_writer_fini(&c.writer);
    obv_buf_fini(&c.index_out);
    obv_buf_fini(&c.data_out);
}

static void macroblock_files_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    assert_files_are_made_again("data/backup_macro_block_1.0.bin", "data/backup_macro_block_index_1.bin", 1, 2);
    assert_files_are_made_again("data/backup_pg_macro_block_1.0.bin.zst", "data/backup_pg_macro_block_index_1.bin", 12,
                                17);
}

static void an_index_with_a_gap_is_neither_written_nor_read(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_table_key key = {.type = 1, .pkey = {1100611139453781, 3, 0}, .table_id = 1100611139453781};
    obv_buf k = obv_buf_heap(1024);
    obv_put_table_key(&k, &key);
    obv_buf out = obv_buf_heap(1 << 20);
    obv_macro_index_writer w = obv_macro_index_writer_of();
    obv_macro_entry e = {.set_id = 1, .len = 4096};
    assert_code(obv_macro_index_table(&w, obv_buf_span(&k), 0, &out, &err), OBV_OK, &err);
    assert_int_equal(w.blocks.payload.len, 0); /* a table without blocks has no key */
    assert_code(obv_macro_index_table(&w, obv_buf_span(&k), 2, &out, &err), OBV_OK, &err);
    e.index = 1;
    assert_int_equal(obv_macro_index_entry(&w, &e, &out, &err), OBV_E_INTERNAL);
    e.index = 0;
    const obv_macro_entry bad[] = {{.set_id = 0, .len = 4096},
                                   {.set_id = 1, .len = 0},
                                   {.set_id = 1, .len = 4096, .data_seq = -1},
                                   {.set_id = 1, .len = 4096, .data_version = -1},
                                   {.set_id = 1, .len = 4096, .sub_task = -1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(obv_macro_index_entry(&w, &bad[i], &out, &err), OBV_E_INTERNAL);
    assert_code(obv_macro_index_entry(&w, &e, &out, &err), OBV_OK, &err);
    assert_int_equal(obv_macro_index_end(&w, &out, &err), OBV_E_INTERNAL);
    assert_code(obv_macro_index_flush(&w, &out, &err), OBV_OK, &err);
    const obv_macro_index_visitor v = {0};
    assert_int_equal(obv_macro_index_each(obv_buf_span(&out), &v, &err), OBV_E_CORRUPT);
    obv_macro_index_writer_fini(&w);
    obv_buf_fini(&out);
    obv_buf_fini(&k);
}

/* An index as a faulty writer would leave it: entries 0 and 2 of three. */
static void a_gap_in_a_finished_index_is_damage(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_table_key key = {.type = 1, .pkey = {1100611139453781, 3, 0}, .table_id = 1100611139453781};
    obv_buf o = obv_buf_heap(1024);
    const size_t info = obv_unis_begin(&o, 1);
    obv_put_table_key(&o, &key);
    obv_put_vu64(&o, 3);
    obv_unis_end(&o, info);
    static const uint64_t INDEXES[] = {0, 2, 2};
    for (size_t i = 0; i < 3; i++) {
        const uint64_t words[] = {INDEXES[i], 7, i, 1, 0, i * 4096, 4096};
        const size_t entry = obv_unis_begin(&o, 1);
        for (size_t w = 0; w < 7; w++)
            obv_put_vu64(&o, words[w]);
        obv_unis_end(&o, entry);
    }
    obv_buf file = obv_buf_heap(1 << 20);
    obv_put_info_file(&file, OBV_FILE_MACRO_INDEX, 1, obv_buf_span(&o));
    assert_int_equal(obv_macro_index_each(obv_buf_span(&file), &(obv_macro_index_visitor){0}, &err), OBV_E_CORRUPT);
    assert_non_null(strstr(err.msg, "entry 2 where 1 was due"));
    obv_buf_fini(&file);
    obv_buf_fini(&o);
}

/* ---- meta files */

typedef struct meta_copy {
    obv_span file; /* the meta file */
    obv_meta_files out;
    obv_buf meta_out, index_out;
    obv_meta_index entries[8];
    size_t n;
} meta_copy;

static obv_span whole(obv_rd before, const obv_rd *after)
{
    return (obv_span){before.p, (size_t)(after->p - before.p)};
}

/* A table that was dropped takes its partition with it, and nothing else. */
static void assert_partition_leaves(obv_span body, const obv_record_partition *parts, size_t n)
{
    obv_err err = {0};
    obv_record_counts all, left;
    obv_pg_record_reader rec;
    obv_pg_record_part part;
    obv_buf out = obv_buf_heap(1 << 20);
    obv_record_change change = {.schema_version = 1};
    obv_partition_store_meta gone;
    assert_code(obv_partition_store_meta_parse(parts[0].store_meta, &gone, &err), OBV_OK, &err);
    const uint64_t dropped[] = {1, gone.pkey.table_id, UINT64_MAX};
    assert_code(obv_pg_record_body_rewrite(body, &change, &all, &out, &err), OBV_OK, &err);
    assert_int_equal(all.partitions, n - 1);
    out.len = 0;
    change = (obv_record_change){.schema_version = 1, .dropped = dropped, .dropped_count = 3};
    assert_code(obv_pg_record_body_rewrite(body, &change, &left, &out, &err), OBV_OK, &err);
    assert_int_equal(left.partitions, n - 2);
    assert_true(left.blocks <= all.blocks);
    assert_code(obv_pg_record_parse(obv_buf_span(&out), &rec, &err), OBV_OK, &err);
    assert_int_equal(rec.partition_count, n - 1);
    assert_int_equal(rec.pg.partition_count, n - 1);
    uint64_t blocks = 0;
    for (size_t i = 0; i < n - 1; i++) {
        const obv_pg_key key = obv_pg_meta_partition(&rec.pg, i);
        assert_code(obv_pg_record_next_partition(&rec, &part, &err), OBV_OK, &err);
        assert_true(obv_pg_key_equal(&part.store.pkey, &key));
        assert_span_equal(part.store.bytes, parts[i + 1].store_meta);
        assert_int_equal(part.table_count, parts[i + 1].table_count);
        for (size_t t = 0; t < part.table_count; t++) {
            obv_sstable_meta meta;
            obv_table_key table;
            assert_code(obv_pg_record_next_table(&part, &meta, &table, &err), OBV_OK, &err);
            assert_span_equal(meta.bytes, parts[i + 1].tables[t].sstable_meta);
            blocks += meta.macro_block_count + meta.lob_macro_block_count;
        }
    }
    assert_int_equal(left.blocks, blocks);
    for (size_t cut = 0; cut < body.len; cut++) {
        out.len = 0;
        assert_int_equal(obv_pg_record_body_rewrite((obv_span){body.p, cut}, &change, NULL, &out, &err), OBV_E_CORRUPT);
    }
    obv_buf_fini(&out);
}

/* Takes a record apart and makes it anew from its parts. */
static void assert_record_is_made_again(obv_span body)
{
    obv_err err = {0};
    obv_pg_record_reader rec;
    obv_record_table tables[16];
    obv_record_partition parts[8];
    size_t table_count = 0;
    assert_code(obv_pg_record_parse(body, &rec, &err), OBV_OK, &err);
    assert_true(rec.partition_count <= 8);
    for (size_t i = 0; i < rec.partition_count; i++) {
        obv_pg_record_part p;
        assert_code(obv_pg_record_next_partition(&rec, &p, &err), OBV_OK, &err);
        parts[i] = (obv_record_partition){p.store.bytes, tables + table_count, p.table_count};
        for (size_t t = 0; t < p.table_count; t++) {
            obv_sstable_meta meta;
            obv_table_key key;
            obv_rd before = p.tables;
            obv_rd inner = obv_rd_unis(&before, 1);
            (void)obv_rd_unis(&inner, 1);
            const obv_rd key_begin = inner;
            (void)obv_rd_unis(&inner, 1);
            assert_code(obv_pg_record_next_table(&p, &meta, &key, &err), OBV_OK, &err);
            tables[table_count++] = (obv_record_table){meta.bytes, whole(key_begin, &inner)};
        }
    }
    const obv_pg_record r = {rec.pg.bytes, parts, rec.partition_count};
    obv_buf again = obv_buf_heap(1 << 20);
    assert_code(obv_put_pg_record_body(&again, &r, 0, &err), OBV_OK, &err);
    assert_span_equal(obv_buf_span(&again), body);

    for (size_t n = 0; n < body.len; n++) {
        obv_pg_record_reader cut;
        assert_int_equal(obv_pg_record_parse((obv_span){body.p, n}, &cut, &err), OBV_E_CORRUPT);
    }

    /* raised to a later version: the same as rewriting the finished body */
    const int64_t later = rec.pg.data.schema_version + 1000000;
    obv_buf raised = obv_buf_heap(1 << 20);
    again.len = 0;
    assert_code(obv_put_pg_record_body(&again, &r, later, &err), OBV_OK, &err);
    obv_record_change change = {.schema_version = later};
    obv_record_counts counts;
    assert_code(obv_pg_record_body_rewrite(body, &change, &counts, &raised, &err), OBV_OK, &err);
    assert_span_equal(obv_buf_span(&raised), obv_buf_span(&again));
    assert_code(obv_pg_record_parse(obv_buf_span(&raised), &rec, &err), OBV_OK, &err);
    assert_int_equal(rec.pg.data.schema_version, later);
    raised.len = 0;
    change.schema_version = 1;
    assert_code(obv_pg_record_body_rewrite(body, &change, NULL, &raised, &err), OBV_OK, &err);
    assert_span_equal(obv_buf_span(&raised), body); /* never lowered */

    if (rec.partition_count > 1)
        assert_partition_leaves(body, parts, rec.partition_count);

    /* an sstable under the key of another index is refused */
    if (table_count > 1) {
        const obv_span swap = tables[0].table_key;
        tables[0].table_key = tables[table_count - 1].table_key;
        assert_int_equal(obv_put_pg_record_body(&again, &r, 0, &err), OBV_E_CORRUPT);
        tables[0].table_key = swap;
    }
    obv_buf_fini(&again);
    obv_buf_fini(&raised);
}

static int copy_record(void *ctx, const obv_meta_index *e)
{
    meta_copy *c = ctx;
    obv_err err = {0};
    obv_meta_object o;
    assert_true(e->offset + e->len <= c->file.len && c->n < 8);
    assert_code(obv_meta_object_parse((obv_span){c->file.p + e->offset, (size_t)e->len}, &o, &err), OBV_OK, &err);
    assert_int_equal(o.total, e->len);
    assert_int_equal(o.meta_type, e->meta_type);
    c->entries[c->n++] = *e;
    if (e->meta_type != OBV_META_TYPE_PG_INFO)
        return 0;
    assert_record_is_made_again(o.body);
    obv_meta_index made;
    assert_code(obv_meta_files_add(&c->out, &e->pg, o.body, &c->meta_out, &c->index_out, &made, &err), OBV_OK, &err);
    assert_int_equal(made.offset, e->offset);
    assert_int_equal(made.len, e->len);
    return 0;
}

static meta_copy copy_of(const char *meta, const char *index)
{
    obv_err err = {0};
    meta_copy c = {.file = golden_vector(meta),
                   .out = obv_meta_files_of(1),
                   .meta_out = obv_buf_heap(1 << 20),
                   .index_out = obv_buf_heap(1 << 20)};
    assert_code(obv_meta_index_file_each(golden_vector(index), copy_record, &c, &err), OBV_OK, &err);
    assert_code(obv_meta_files_end(&c.out, &c.meta_out, &c.index_out, &err), OBV_OK, &err);
    return c;
}

static void drop(meta_copy *c)
{
    obv_meta_files_fini(&c->out);
    obv_buf_fini(&c->meta_out);
    obv_buf_fini(&c->index_out);
}

static void meta_files_are_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    meta_copy c = copy_of("data/backup_pg_meta_file_1.bin", "data/backup_pg_meta_index_file_1.bin");
    assert_int_equal(c.n, 2);
    assert_span_equal(obv_buf_span(&c.meta_out), golden_vector("data/backup_pg_meta_file_1.bin"));
    assert_span_equal(obv_buf_span(&c.index_out), golden_vector("data/backup_pg_meta_index_file_1.bin"));
    drop(&c);
}

static void the_merged_index_is_oceanbases_bytes_both_ways(void **state)
{
    (void)state;
    obv_err err = {0};
    meta_copy c = copy_of("data/backup_meta_file_1.bin", "data/backup_meta_index_file_1.bin");
    assert_int_equal(c.n, 5);
    obv_buf b = obv_buf_heap(1 << 20);
    assert_code(obv_put_merged_meta_index(&b, c.entries, c.n, &err), OBV_OK, &err);
    const obv_span want = golden_vector("data/backup_meta_index_file.bin");
    assert_span_equal(obv_buf_span(&b), want);
    meta_copy again = {.file = c.file,
                       .out = obv_meta_files_of(1),
                       .meta_out = obv_buf_heap(1 << 20),
                       .index_out = obv_buf_heap(1 << 20)};
    assert_code(obv_meta_index_file_each(want, copy_record, &again, &err), OBV_OK, &err);
    assert_int_equal(again.n, 5);
    drop(&again);
    drop(&c);
    obv_buf_fini(&b);
}

static void metas_that_oceanbase_refuses_are_not_written(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf b = obv_buf_heap(16 << 20);
    obv_buf index = obv_buf_heap(1 << 20);
    const obv_pg_key pg = {1100611139453781, 3, 0};
    const obv_pg_key negative = {1100611139453781, -1, 0};
    obv_meta_files f = obv_meta_files_of(1);
    assert_int_equal(obv_meta_files_add(&f, &negative, golden_hex("00"), &b, &index, NULL, &err), OBV_E_INVAL);
    obv_meta_files_fini(&f);
    f = obv_meta_files_of(-1);
    assert_int_equal(obv_meta_files_add(&f, &pg, golden_hex("00"), &b, &index, NULL, &err), OBV_E_INVAL);
    obv_meta_files_fini(&f);
    obv_meta_index entry = {.meta_type = OBV_META_TYPE_PG_INFO, .pg = pg, .len = 1, .task_id = -1};
    assert_int_equal(obv_put_merged_meta_index(&b, &entry, 1, &err), OBV_E_INVAL);
    entry.task_id = 0;
    entry.meta_type = 5;
    assert_int_equal(obv_put_merged_meta_index(&b, &entry, 1, &err), OBV_E_INVAL);
    assert_int_equal(b.len, 0);
    obv_buf_fini(&b);
    obv_buf_fini(&index);
}

/* The largest record that is taken for a PG still fits when its schema version grows at the end of the set. */
static void a_record_that_is_accepted_fits_its_block(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_buf meta = obv_buf_heap(16 << 20);
    obv_buf index = obv_buf_heap(1 << 20);
    const obv_pg_key pg = {1100611139453781, 3, 0};
    uint8_t *body = calloc(1, OBV_PG_RECORD_BODY_MAX + 10);
    assert_non_null(body);
    obv_meta_files f = obv_meta_files_of(1);
    assert_code(obv_meta_files_add(&f, &pg, (obv_span){body, OBV_PG_RECORD_BODY_MAX + 9}, &meta, &index, NULL, &err),
                OBV_OK, &err);
    assert_int_equal(
        obv_meta_files_add(&f, &pg, (obv_span){body, OBV_PG_RECORD_BODY_MAX + 10}, &meta, &index, NULL, &err),
        OBV_E_LIMIT);
    obv_meta_files_fini(&f);
    free(body);

    /* and one that is larger is refused when it is made */
    meta_copy c = copy_of("data/backup_meta_file_1.bin", "data/backup_meta_index_file_1.bin");
    obv_meta_object o;
    obv_pg_record_reader rec;
    const size_t at = (size_t)c.entries[0].offset;
    assert_code(obv_meta_object_parse((obv_span){c.file.p + at, c.file.len - at}, &o, &err), OBV_OK, &err);
    assert_code(obv_pg_record_parse(o.body, &rec, &err), OBV_OK, &err);
    obv_pg_record_part part;
    assert_code(obv_pg_record_next_partition(&rec, &part, &err), OBV_OK, &err);
    const size_t n = OBV_PG_RECORD_BODY_MAX / part.store.bytes.len;
    obv_record_partition *parts = calloc(n, sizeof *parts);
    assert_non_null(parts);
    for (size_t i = 0; i < n; i++)
        parts[i].store_meta = part.store.bytes;
    meta.len = 0;
    assert_int_equal(obv_put_pg_record_body(&meta, &(obv_pg_record){rec.pg.bytes, parts, n}, 0, &err), OBV_E_LIMIT);
    meta.len = 0;
    assert_code(obv_put_pg_record_body(&meta, &(obv_pg_record){rec.pg.bytes, parts, n / 2}, 0, &err), OBV_OK, &err);
    free(parts);
    drop(&c);
    obv_buf_fini(&meta);
    obv_buf_fini(&index);
}

/* ---- damage */

static int ignore_index(void *ctx, const obv_meta_index *e)
{
    (void)ctx;
    (void)e;
    return 0;
}

static obv_code read_whole(const char *kind, obv_span f, obv_err *err)
{
    if (strstr(kind, "macro_block_index"))
        return obv_macro_index_each(f, &(obv_macro_index_visitor){0}, err);
    if (strstr(kind, "meta_index"))
        return obv_meta_index_file_each(f, ignore_index, NULL, err);
    obv_block_reader r = obv_block_reader_of(f);
    obv_span payload;
    uint64_t at;
    const uint16_t type = strstr(kind, "meta_file") ? OBV_FILE_META : OBV_FILE_MACRO_DATA;
    obv_code code;
    while ((code = obv_block_next(&r, type, &payload, &at, err)) == OBV_OK)
        ;
    return code == OBV_E_NOT_FOUND ? OBV_OK : code;
}

static void flips_in_headers_and_payloads_are_noticed(void **state)
{
    (void)state;
    static const char *const FILES[] = {"data/backup_macro_block_index_1.bin", "data/backup_meta_index_file_1.bin",
                                        "data/backup_meta_index_file.bin", "data/backup_meta_file_1.bin",
                                        "data/backup_macro_block_1.0.bin"};
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        const obv_span f = golden_vector(FILES[i]);
        obv_err err = {0};
        obv_common_header h;
        obv_span payload;
        size_t total;
        assert_code(obv_common_block_parse(f, &h, &payload, &total, &err), OBV_OK, &err);
        uint8_t *copy = malloc(f.len);
        assert_non_null(copy);
        const size_t covered = OBV_COMMON_HEADER_LEN + payload.len;
        for (size_t at = 0; at < covered; at += at < 2048 ? 1 : 509) {
            memcpy(copy, f.p, f.len);
            copy[at] ^= 1;
            const bool uncovered = at == 4 || at == 5 || (at >= 12 && at < 16);
            const bool good = read_whole(FILES[i], (obv_span){copy, f.len}, &err) == OBV_OK;
            if (good != uncovered)
                fail_msg("%s, byte %zu flipped: %s", FILES[i], at, good ? "accepted" : err.msg);
        }
        for (size_t cut = 1; cut < f.len; cut += cut < 300 ? 1 : 797) {
            if (cut == total)
                continue; /* between two blocks: readers do not need the end mark */
            assert_int_not_equal(read_whole(FILES[i], (obv_span){f.p, cut}, &err), OBV_OK);
        }
        free(copy);
    }
}

static void a_large_index_is_cut_into_blocks(void **state)
{
    (void)state;
    obv_err err = {0};
    obv_table_key key = {.type = 1, .pkey = {1100611139453781, 3, 0}, .table_id = 1100611139453781};
    obv_buf k = obv_buf_heap(1024);
    obv_put_table_key(&k, &key);
    obv_buf out = obv_buf_heap(8 << 20);
    obv_macro_index_writer w = obv_macro_index_writer_of();
    enum { COUNT = 40000 };
    assert_code(obv_macro_index_table(&w, obv_buf_span(&k), COUNT, &out, &err), OBV_OK, &err);
    for (uint64_t i = 0; i < COUNT; i++) {
        const obv_macro_entry e = {.index = i,
                                   .data_version = 7,
                                   .data_seq = (int64_t)i,
                                   .set_id = 1,
                                   .sub_task = (int64_t)(i / 512),
                                   .offset = i % 512 * 57344,
                                   .len = 57344};
        assert_code(obv_macro_index_entry(&w, &e, &out, &err), OBV_OK, &err);
    }
    assert_code(obv_macro_index_end(&w, &out, &err), OBV_OK, &err);
    assert_int_equal(out.len % OBV_BLOCK_ALIGN, 0);
    assert_int_equal(out.len, w.blocks.file_len);
    obv_block_reader r = obv_block_reader_of(obv_buf_span(&out));
    obv_span payload;
    uint64_t at;
    size_t blocks = 0;
    while (obv_block_next(&r, OBV_FILE_MACRO_INDEX, &payload, &at, &err) == OBV_OK) {
        assert_true(payload.len + OBV_COMMON_HEADER_LEN <= OBV_INDEX_BLOCK_MAX);
        blocks++;
    }
    assert_true(r.ended && blocks > 1);
    assert_code(obv_macro_index_each(obv_buf_span(&out), &(obv_macro_index_visitor){0}, &err), OBV_OK, &err);
    obv_macro_index_writer_fini(&w);
    obv_buf_fini(&out);
    obv_buf_fini(&k);
}

/* ---- paths */

static void paths_are_those_of_oceanbase(void **state)
{
    (void)state;
    obv_media_root r;
    obv_err err = {0};
    obv_path p;
    const obv_set_id full = {.tenant_id = 1001, .set_id = 1, .full_set_id = 1, .date = 20230101};
    const obv_set_id inc = {.tenant_id = 1001, .set_id = 2, .full_set_id = 1, .date = 20230102};
    const obv_pg_key pg = {1100611139453781, 3, 0};
    assert_code(obv_media_root_init(&r, "obcluster", 1, &err), OBV_OK, &err);
#define CP "obcluster/1/incarnation_1"
#define SET CP "/1001/data/backup_set_1_full_20230101"
    assert_string_equal(r.cp.s, CP);
    obv_path_data_backup_info(&r, 1, &p);
    assert_string_equal(p.s, CP "/cluster_data_backup_info");
    obv_path_data_backup_info(&r, 1001, &p);
    assert_string_equal(p.s, CP "/1001/data/tenant_data_backup_info");
    obv_path_backup_set_file_info(&r, 1, &p);
    assert_string_equal(p.s, CP "/cluster_backup_set_file_info");
    obv_path_backup_set_file_info(&r, 1001, &p);
    assert_string_equal(p.s, CP "/1001/data/tenant_backup_set_file_info");
    obv_path_cluster_file(&r, OBV_NAME_TENANT_NAME_INFO, &p);
    assert_string_equal(p.s, CP "/tenant_name_info");
    obv_path_set_dir(&r, &full, &p);
    assert_string_equal(p.s, SET);
    obv_path_inc_file(&r, &inc, OBV_NAME_SYS_PG_LIST, &p);
    assert_string_equal(p.s, CP "/1001/data/backup_set_2_inc_20230102/backup_2/sys_pg_list");
    obv_path_set_file(&r, &full, OBV_NAME_SINGLE_BACKUP_SET_INFO, &p);
    assert_string_equal(p.s, SET "/single_backup_set_info");
    obv_path_meta_file(&r, &full, 1, &p);
    assert_string_equal(p.s, SET "/backup_1/meta_file_1");
    obv_path_meta_index_file(&r, &full, 1, &p);
    assert_string_equal(p.s, SET "/backup_1/meta_index_file_1");
    obv_path_pg_data(&r, &full, &pg, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/3");
    obv_path_major_block_file(&r, &full, &pg, 0, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/3/major_data/macro_block_1.0");
    obv_path_minor_block_file(&r, &full, &pg, 1, 0, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/3/minor_data/1/macro_block_1.0");
    obv_path_major_index_file(&r, &full, &pg, 0, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/3/major_data/macro_block_index_1");
    obv_path_major_index_file(&r, &full, &pg, 3, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/3/major_data/macro_block_index_1.3");
    obv_path_minor_index_file(&r, &full, &pg, 1, 0, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/3/minor_data/1/macro_block_index_1");
    const obv_pg_key sub = obv_pg_key_from_partition_id(1100611139453781, INT64_C(1152921509170249735));
    obv_path_pg_data(&r, &full, &sub, &p);
    assert_string_equal(p.s, SET "/data/1100611139453781/1152921509170249735");
    static const char *const BAD[] = {"", "a/b", "..", "a?b", "a b", "a\nb"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_int_equal(obv_media_root_init(&r, BAD[i], 1, &err), OBV_E_INVAL);
    assert_int_equal(obv_media_root_init(&r, "c", 0, &err), OBV_E_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metas_that_oceanbase_refuses_are_not_written),
        cmocka_unit_test(a_record_that_is_accepted_fits_its_block),
        cmocka_unit_test(macroblock_files_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(an_index_with_a_gap_is_neither_written_nor_read),
        cmocka_unit_test(a_gap_in_a_finished_index_is_damage),
        cmocka_unit_test(meta_files_are_oceanbases_bytes_both_ways),
        cmocka_unit_test(the_merged_index_is_oceanbases_bytes_both_ways),
        cmocka_unit_test(flips_in_headers_and_payloads_are_noticed),
        cmocka_unit_test(a_large_index_is_cut_into_blocks),
        cmocka_unit_test(paths_are_those_of_oceanbase),
    };
    return cmocka_run_group_tests_name("format.data_files", tests, NULL, NULL);
}
