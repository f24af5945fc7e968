/* clog_maker.h - makes clog and ilog files for tests: one entry a block, cursors of what counts as committed
 *
 * Include after test.h. Everything lies in a folder of its own below /tmp that maker_free removes.
 */
#ifndef OBV_TEST_CLOG_MAKER_H
#define OBV_TEST_CLOG_MAKER_H

#include "base/crc32c.h"
#include "format/ob/clog_block.h"
#include "format/ob/clog_entry.h"
#include "format/ob/codec.h"
#include "format/ob/ilog.h"
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lz4.h>

#ifndef MAKER_PGS
#define MAKER_PGS 2048u
#endif

typedef struct maker_log {
    uint32_t pg;
    uint64_t log_id;
    obv_ilog_cursor at;
} maker_log;

typedef struct maker_pg {
    obv_pg_key key;
    uint64_t next;
    int64_t accum;
} maker_pg;

typedef struct maker {
    char dir[64];
    int fd;
    uint32_t file_id, offset;
    int64_t now;
    int64_t proposal_ts; /* of entries from now on; 0: the usual one */
    maker_pg pgs[MAKER_PGS];
    uint32_t pg_count;
    maker_log *logs; /* committed and not yet in a finished ilog file */
    size_t log_count, log_cap;
} maker;

static inline void maker_new_file(maker *m)
{
    char path[128];
    if (m->fd >= 0)
        (void)close(m->fd);
    (void)snprintf(path, sizeof path, "%s/clog/%u", m->dir, ++m->file_id);
    m->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(m->fd >= 0);
    assert_int_equal(ftruncate(m->fd, OBV_CLOG_FILE_BYTES), 0);
    m->offset = 0;
}

static inline maker *maker_new(void)
{
    maker *m = calloc(1, sizeof *m);
    assert_non_null(m);
    (void)strcpy(m->dir, "/tmp/logs-store-XXXXXX");
    assert_non_null(mkdtemp(m->dir));
    char path[128];
    (void)snprintf(path, sizeof path, "%s/clog", m->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/ilog", m->dir);
    assert_int_equal(mkdir(path, 0755), 0);
    m->fd = -1;
    m->now = 1700000000000000;
    maker_new_file(m);
    return m;
}

static inline void maker_free(maker *m)
{
    char cmd[128];
    if (m->fd >= 0)
        (void)close(m->fd);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", m->dir);
    assert_int_equal(system(cmd), 0);
    free(m->logs);
    free(m);
}

static inline uint32_t maker_pg_add(maker *m, const obv_pg_key *key, uint64_t first_log, int64_t accum_before)
{
    assert_true(m->pg_count < MAKER_PGS);
    m->pgs[m->pg_count] = (maker_pg){.key = *key, .next = first_log, .accum = accum_before};
    return m->pg_count++;
}

static inline void maker_put(maker *m, obv_span bytes)
{
    assert_int_equal(pwrite(m->fd, bytes.p, bytes.len, m->offset), (ssize_t)bytes.len);
    m->offset += (uint32_t)bytes.len;
}

/* Header of a block of this type around so many bytes. */
static inline void maker_header(maker *m, uint32_t type, size_t len)
{
    const int64_t total = (int64_t)((len + 48 + 4095) / 4096 * 4096);
    uint8_t header[48], image[40];
    obv_buf i = obv_buf_fixed(image, sizeof image), h = obv_buf_fixed(header, sizeof header);
    m->now++;
    obv_put_le16(&i, 0x4c42), obv_put_le16(&i, 1), obv_put_le32(&i, type);
    obv_put_le64(&i, (uint64_t)total), obv_put_le64(&i, (uint64_t)(total - 48 - (int64_t)len));
    obv_put_le64(&i, (uint64_t)m->now), obv_put_le64(&i, 0);
    obv_put_be16(&h, 0x4c42), obv_put_be16(&h, 1), obv_put_be32(&h, type);
    obv_put_be64(&h, (uint64_t)total), obv_put_be64(&h, (uint64_t)(total - 48 - (int64_t)len));
    obv_put_be64(&h, (uint64_t)m->now), obv_put_be64(&h, 0), obv_put_be64(&h, obv_crc64(0, obv_buf_span(&i)));
    maker_put(m, obv_buf_span(&h));
}

/* A DATA block around bytes; @return offset of the bytes. A new file when it would not fit. */
static inline uint32_t maker_block(maker *m, obv_span bytes)
{
    if (m->offset + 48 + bytes.len > OBV_CLOG_DATA_END)
        maker_new_file(m);
    maker_header(m, 1, bytes.len);
    const uint32_t at = m->offset;
    maker_put(m, bytes);
    return at;
}

/* A padding entry up to the page's end, which the next block will overwrite. */
static inline uint32_t maker_padding(maker *m)
{
    static uint8_t zeros[8192];
    const uint32_t end = (m->offset + 12 + 4095) / 4096 * 4096;
    obv_buf b = obv_buf_heap(8192);
    obv_put_be16(&b, 0x5044), obv_put_be16(&b, 1), obv_put_be64(&b, end - m->offset);
    obv_buf_append(&b, zeros, end - m->offset - 12);
    assert_int_equal(pwrite(m->fd, b.data, b.len, m->offset), (ssize_t)b.len);
    obv_buf_fini(&b);
    return end;
}

/* The file is full: padding that stays, the info block. */
static inline void maker_end_file(maker *m)
{
    static const uint8_t DATA[16];
    m->offset = maker_padding(m);
    maker_header(m, 2, sizeof DATA);
    maker_put(m, obv_span_of(DATA, sizeof DATA));
}

static inline void maker_finish_file(maker *m)
{
    maker_end_file(m);
    maker_new_file(m);
}

enum { MAKER_BATCH = 1, MAKER_COMPRESSED = 2 };

/* Serialized entry of the PG's log `log_id`. */
static inline void maker_entry(maker *m, uint32_t pg, enum obv_clog_type type, uint64_t log_id, obv_span data,
                               obv_buf *out, obv_clog_entry *e)
{
    m->now++;
    *e = (obv_clog_entry){.type = type,
                          .is_trans = type == OBV_ENTRY_SUBMIT || type == OBV_ENTRY_AGGRE,
                          .pg = m->pgs[pg].key,
                          .log_id = log_id,
                          .data_len = (uint32_t)data.len,
                          .generation_ts = m->now,
                          .epoch_id = 1600000000000000,
                          .proposal_server = UINT64_C(0x7f00000200000b42),
                          .proposal_ts = m->proposal_ts ? m->proposal_ts : 1600000000000000,
                          .submit_ts = m->now,
                          .data_checksum = (int64_t)obv_crc64(0, data),
                          .freeze_version = 0x100000001};
    obv_clog_entry_emit(e, out);
    obv_put_span(out, data);
}

/* Writes the log and counts it as committed. */
static inline void maker_commit(maker *m, uint32_t pg, uint64_t log_id, enum obv_clog_type type, obv_span data,
                                unsigned flags)
{
    obv_buf b = obv_buf_heap(4u << 20), stored = obv_buf_heap(4u << 20);
    obv_clog_entry e;
    maker_entry(m, pg, type, log_id, data, &b, &e);
    obv_span bytes = obv_buf_span(&b);
    if (flags & MAKER_COMPRESSED) {
        uint8_t *room = malloc((size_t)LZ4_compressBound((int)b.len));
        assert_non_null(room);
        const int n =
            LZ4_compress_default((const char *)b.data, (char *)room, (int)b.len, LZ4_compressBound((int)b.len));
        obv_put_be16(&stored, 0x4302), obv_put_be32(&stored, (uint32_t)b.len), obv_put_be32(&stored, (uint32_t)n);
        obv_buf_append(&stored, room, (size_t)n);
        free(room);
        bytes = obv_buf_span(&stored);
    }
    assert_false(b.failed || stored.failed);
    const uint32_t at = maker_block(m, bytes);
    if (m->log_count == m->log_cap) {
        m->log_cap = m->log_cap ? m->log_cap * 2 : 1024;
        m->logs = realloc(m->logs, m->log_cap * sizeof *m->logs);
        assert_non_null(m->logs);
    }
    /* accum is filled in by maker_ilog, in log order */
    m->logs[m->log_count++] = (maker_log){pg,
                                          log_id,
                                          {.file_id = m->file_id,
                                           .offset = at,
                                           .size = (uint32_t)bytes.len,
                                           .batch_committed = (flags & MAKER_BATCH) != 0,
                                           .accum = e.data_checksum,
                                           .submit_ts = e.submit_ts}};
    obv_buf_fini(&b);
    obv_buf_fini(&stored);
}

/* The usual: the PG's next log with `len` bytes of a body that is no storage log of interest. */
static inline void maker_next(maker *m, uint32_t pg, size_t len)
{
    uint8_t *data = malloc(len + 8);
    assert_non_null(data);
    for (size_t i = 0; i < len + 8; i++)
        data[i] = (uint8_t)(i < 8 ? 0 : (m->now + (int64_t)i * 7) & 0xff);
    maker_commit(m, pg, m->pgs[pg].next++, OBV_ENTRY_SUBMIT, obv_span_of(data, len + 8), 0);
    free(data);
}

/* A copy of a log of which no cursor tells; its bytes depend on `salt`. @return its data's checksum */
static inline int64_t maker_copy(maker *m, uint32_t pg, uint64_t log_id, size_t len, uint8_t salt)
{
    uint8_t *data = calloc(1, len + 8);
    assert_non_null(data);
    memset(data + 8, salt, len);
    obv_buf b = obv_buf_heap(4u << 20);
    obv_clog_entry e;
    maker_entry(m, pg, OBV_ENTRY_SUBMIT, log_id, obv_span_of(data, len + 8), &b, &e);
    assert_false(b.failed);
    (void)maker_block(m, obv_buf_span(&b));
    obv_buf_fini(&b);
    free(data);
    return e.data_checksum;
}

/* A trans checkpoint log with value `ts`. */
static inline void maker_checkpoint(maker *m, uint32_t pg, int64_t ts)
{
    uint8_t body[64];
    obv_buf b = obv_buf_fixed(body, sizeof body);
    obv_put_be64(&b, OBV_STORAGE_LOG_TRANS_CHECKPOINT);
    const size_t mark = obv_unis_begin(&b, 1);
    obv_put_vi64(&b, ts);
    obv_unis_end(&b, mark);
    maker_commit(m, pg, m->pgs[pg].next++, OBV_ENTRY_SUBMIT, obv_buf_span(&b), 0);
}

/* The last log of a PG that is dropped. */
static inline void maker_offline(maker *m, uint32_t pg)
{
    uint8_t body[16];
    obv_buf b = obv_buf_fixed(body, sizeof body);
    obv_put_be64(&b, OBV_STORAGE_LOG_OFFLINE);
    maker_commit(m, pg, m->pgs[pg].next++, OBV_ENTRY_SUBMIT, obv_buf_span(&b), 0);
}

static inline int maker_by_log(const void *a, const void *b)
{
    const maker_log *x = a, *y = b;
    if (x->pg != y->pg)
        return x->pg < y->pg ? -1 : 1;
    return x->log_id < y->log_id ? -1 : x->log_id > y->log_id;
}

/* (Re)writes ilog file `id` with every committed log since the last finished one; finish: the next one starts behind.
 */
static inline void maker_ilog(maker *m, uint32_t id, bool finish)
{
    if (m->log_count > 1)
        qsort(m->logs, m->log_count, sizeof *m->logs, maker_by_log);
    obv_buf f = obv_buf_heap(64u << 20);
    uint32_t distinct = 0;
    for (size_t i = 0; i < m->log_count; i++)
        distinct += i == 0 || m->logs[i].pg != m->logs[i - 1].pg;
    const uint32_t capacity = distinct ? distinct : 1;
    uint8_t *slots = calloc(capacity, OBV_ILOG_SLOT);
    assert_non_null(slots);
    int64_t accum = 0;
    for (size_t i = 0; i < m->log_count; i++) {
        const maker_log *l = &m->logs[i];
        const maker_pg *pg = &m->pgs[l->pg];
        if (i == 0 || l->pg != m->logs[i - 1].pg) {
            accum = pg->accum;
            uint32_t k = (uint32_t)(obv_clog_key_hash(&pg->key) % capacity);
            while (slots[(size_t)k * OBV_ILOG_SLOT])
                k = (k + 1) % capacity;
            size_t j = i;
            while (j + 1 < m->log_count && m->logs[j + 1].pg == l->pg)
                j++;
            obv_buf s = obv_buf_fixed(slots + (size_t)k * OBV_ILOG_SLOT, OBV_ILOG_SLOT);
            obv_put_le64(&s, 1);
            obv_put_le64(&s, pg->key.table_id), obv_put_le32(&s, (uint32_t)pg->key.part_id);
            obv_put_le32(&s, (uint32_t)pg->key.assist), obv_put_le64(&s, obv_clog_key_hash(&pg->key));
            obv_put_le64(&s, l->log_id), obv_put_le64(&s, m->logs[j].log_id);
            obv_put_le64(&s, (uint64_t)l->at.submit_ts), obv_put_le64(&s, (uint64_t)m->logs[j].at.submit_ts);
            obv_put_le64(&s, f.len);
        }
        accum = obv_clog_accum(accum, l->at.accum);
        obv_put_be32(&f, l->at.file_id), obv_put_be32(&f, l->at.offset), obv_put_be32(&f, l->at.size);
        obv_put_be32(&f, 0), obv_put_be64(&f, (uint64_t)accum);
        obv_put_be64(&f, (uint64_t)l->at.submit_ts | (l->at.batch_committed ? OBV_CLOG_BATCH_BIT : 0));
        if (finish)
            m->pgs[l->pg].accum = accum;
    }
    obv_buf_append_zeros(&f, (4096 - f.len % 4096) % 4096);
    const uint32_t info_at = (uint32_t)f.len, info_size = 8 + capacity * OBV_ILOG_SLOT;
    obv_put_be64(&f, (uint64_t)capacity * OBV_ILOG_SLOT);
    obv_buf_append(&f, slots, (size_t)capacity * OBV_ILOG_SLOT);
    obv_buf_append_zeros(&f, (4096 - f.len % 4096) % 4096);
    obv_buf_append_zeros(&f, 4096 - OBV_ILOG_TRAILER_AREA);
    uint8_t image[32];
    obv_buf i = obv_buf_fixed(image, sizeof image);
    obv_put_le64(&i, 0x4c43), obv_put_le32(&i, info_at), obv_put_le32(&i, info_size);
    obv_put_le32(&i, info_at + info_size), obv_put_le32(&i, 0), obv_put_le64(&i, 0);
    obv_put_be16(&f, 0x4c43), obv_put_be16(&f, 0), obv_put_be32(&f, 0), obv_put_be32(&f, info_at);
    obv_put_be32(&f, info_size), obv_put_be32(&f, info_at + info_size), obv_put_be32(&f, 0), obv_put_be64(&f, 0);
    obv_put_be64(&f, obv_crc64(0, obv_buf_span(&i)));
    obv_buf_append_zeros(&f, OBV_ILOG_TRAILER_AREA - OBV_ILOG_TRAILER);
    assert_false(f.failed);
    free(slots);

    char tmp[128], path[128];
    (void)snprintf(tmp, sizeof tmp, "%s/ilog/%u.tmp", m->dir, id);
    (void)snprintf(path, sizeof path, "%s/ilog/%u", m->dir, id);
    const int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f.data, f.len), (ssize_t)f.len);
    assert_int_equal(close(fd), 0);
    assert_int_equal(rename(tmp, path), 0);
    obv_buf_fini(&f);
    if (finish)
        m->log_count = 0;
}

/* The server reuses clog file `from` as its next file. */
static inline void maker_recycle(maker *m, uint32_t from)
{
    char old[128], new[128], page[4096];
    (void)snprintf(old, sizeof old, "%s/clog/%u", m->dir, from);
    (void)snprintf(new, sizeof new, "%s/clog/%u", m->dir, m->file_id + 1);
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = "NL"[i % 2];
    const int fd = open(old, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, page, sizeof page, 0), (ssize_t)sizeof page);
    assert_int_equal(rename(old, new), 0);
    (void)close(m->fd);
    m->fd = fd;
    m->file_id++;
    m->offset = 0;
}

#endif
