/* sst.c - see sst.h */
#include "sst.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define DESC_MAGIC 0x4f42535353543034u

/* ---- files, descriptors */

static struct bfile *bfile_open(const char *path, bool create, bool local)
{
    int fd = open(path, (create ? O_CREAT | O_TRUNC : 0) | O_RDWR | O_CLOEXEC, 0644);
    if (fd < 0)
        return NULL;
    struct bfile *f = xcalloc(1, sizeof *f);
    *f = (struct bfile){.refs = 1, .fd = fd, .local = local, .path = xstrdup(path)};
    return f;
}

static void bfile_unref(struct bfile *f, bool doom)
{
    if (atomic_fetch_sub(&f->refs, 1) > 1)
        return;
    close(f->fd);
    if (doom && f->local)
        unlink(f->path);
    free(f->path);
    free(f);
}

struct sst *sst_ref(struct sst *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

static void release(struct sst *s, bool doom)
{
    for (int i = 0; i < s->n_files; i++)
        bfile_unref(s->files[i], doom);
    if (doom && s->local)
        unlink(s->path);
    free(s->files);
    free(s->file);
    free(s->blk);
    free(s->path);
    free(s);
}

void sst_unref(struct sst *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        release(s, s->doomed);
}

void sst_doom(struct sst *s)
{
    if (s)
        s->doomed = true;
    sst_unref(s);
}

static int write_desc(struct sst *s)
{
    struct obuf b = {0};
    ob_le64(&b, DESC_MAGIC);
    ob_put(&b, &s->key, sizeof s->key);
    ob_put(&b, &s->meta, sizeof s->meta);
    ob_le32(&b, (uint32_t)s->comp);
    ob_le32(&b, s->int_key);
    ob_le64(&b, (uint64_t)s->max_version);
    ob_le32(&b, s->n);
    ob_le32(&b, (uint32_t)s->n_files);
    ob_le32(&b, s->local);
    for (int i = 0; i < s->n_files; i++) {
        ob_le32(&b, s->files[i]->local);
        ob_le32(&b, (uint32_t)strlen(s->files[i]->path) + 1);
        ob_put(&b, s->files[i]->path, strlen(s->files[i]->path) + 1);
    }
    for (uint32_t i = 0; i < s->n; i++) {
        ob_le16(&b, s->file[i]);
        ob_put(&b, &s->blk[i], sizeof s->blk[i]);
    }
    int rc = write_file(s->path, b.p, b.n);
    ob_free(&b);
    return rc;
}

struct sst *sst_load(struct host *h, const char *path)
{
    (void)h;
    size_t n;
    uint8_t *p = read_file(path, &n);
    if (!p)
        return NULL;
    struct oin r = {.p = p, .n = n};
    struct sst *s = xcalloc(1, sizeof *s);
    s->refs = 1;
    s->path = xstrdup(path);
    bool ok = in_le64(&r) == DESC_MAGIC;
    const uint8_t *k = in_bytes(&r, sizeof s->key), *m = in_bytes(&r, sizeof s->meta);
    if (ok && k && m) {
        memcpy(&s->key, k, sizeof s->key);
        memcpy(&s->meta, m, sizeof s->meta);
    }
    s->comp = (enum compressor)in_le32(&r);
    s->int_key = in_le32(&r) != 0;
    s->max_version = (int64_t)in_le64(&r);
    uint32_t blocks = in_le32(&r), files = in_le32(&r);
    s->local = in_le32(&r) != 0;
    ok = ok && !r.bad && files < 65536 && blocks < (1u << 24);
    s->files = xcalloc(ok ? files : 0, sizeof *s->files);
    for (uint32_t i = 0; ok && i < files; i++) {
        bool local = in_le32(&r) != 0;
        uint32_t len = in_le32(&r);
        const uint8_t *name = in_bytes(&r, len);
        s->files[i] = name ? bfile_open((const char *)name, false, local) : NULL;
        ok = s->files[i] != NULL;
        s->n_files += ok;
    }
    s->blk = xcalloc(ok ? blocks : 0, sizeof *s->blk);
    s->file = xcalloc(ok ? blocks : 0, sizeof *s->file);
    for (uint32_t i = 0; ok && i < blocks; i++) {
        s->file[i] = in_le16(&r);
        const uint8_t *d = in_bytes(&r, sizeof s->blk[i]);
        ok = d && s->file[i] < s->n_files;
        if (ok)
            memcpy(&s->blk[i], d, sizeof s->blk[i]);
    }
    s->n = blocks;
    free(p);
    if (!ok) {
        release(s, false);
        return NULL;
    }
    return s;
}

int sst_read_block(struct sst *s, uint32_t i, struct obuf *meta, struct obuf *block)
{
    const struct block_desc *d = &s->blk[i];
    int fd = s->files[s->file[i]]->fd;
    int rc = pread_all(fd, ob_grow(meta, d->meta_len), d->meta_len, (int64_t)d->off);
    return rc ? rc : pread_all(fd, ob_grow(block, d->occupy), d->occupy, (int64_t)(d->off + d->meta_len));
}

/* ---- building */

struct sst_builder {
    struct host *h;
    struct sst_spec spec;
    struct sst *s;
    struct macro_writer *w;
    struct bfile *out;
    uint64_t out_len;
    uint32_t cap;
    int err;
};

static void push_block(struct sst_builder *b, const struct block_desc *d, struct bfile *f)
{
    struct sst *s = b->s;
    if (s->n == b->cap) {
        b->cap = b->cap ? 2 * b->cap : 4;
        s->blk = xrealloc(s->blk, b->cap * sizeof *s->blk);
        s->file = xrealloc(s->file, b->cap * sizeof *s->file);
    }
    int i = s->n_files - 1;
    while (i >= 0 && s->files[i] != f && strcmp(s->files[i]->path, f->path) != 0)
        i--;
    if (i < 0) {
        s->files = xrealloc(s->files, (size_t)(s->n_files + 1) * sizeof(struct bfile *));
        atomic_fetch_add(&f->refs, 1);
        i = s->n_files++;
        s->files[i] = f;
    }
    s->blk[s->n] = *d;
    s->file[s->n++] = (uint16_t)i;
}

static int take_block(void *arg, struct block_desc *d, const struct obuf *meta, const struct obuf *block)
{
    struct sst_builder *b = arg;
    if (!b->out) {
        char *path = xasprintf("%s.blk", b->spec.path);
        b->out = bfile_open(path, true, b->spec.local);
        free(path);
        if (!b->out)
            return -errno;
    }
    d->off = b->out_len;
    int rc = pwrite_all(b->out->fd, meta->p, meta->n, (int64_t)b->out_len);
    if (!rc)
        rc = pwrite_all(b->out->fd, block->p, block->n, (int64_t)(b->out_len + meta->n));
    b->out_len += meta->n + block->n;
    if (!rc)
        push_block(b, d, b->out);
    return rc;
}

struct sst_builder *sb_new(struct host *h, const struct sst_spec *spec)
{
    struct sst_builder *b = xcalloc(1, sizeof *b);
    b->h = h;
    b->spec = *spec;
    b->s = xcalloc(1, sizeof *b->s);
    struct sst *s = b->s;
    s->refs = 1;
    s->key = spec->key;
    s->comp = spec->comp;
    s->int_key = spec->int_key;
    s->local = spec->local;
    s->path = xasprintf("%s.sst", spec->path);
    struct macro_opts o = {.part = spec->key.pkey,
                           .index_id = spec->key.table_id,
                           .multi_version = spec->multi_version,
                           .int_key = spec->int_key,
                           .comp = spec->comp,
                           .data_version = spec->data_version,
                           .first_seq = spec->first_seq,
                           .schema_version = spec->schema_version,
                           .snapshot_version = spec->key.v.snapshot_version,
                           .micro_size = (size_t)h->knob.micro_block_size};
    b->w = mw_new(&o, take_block, b);
    return b;
}

int sb_add(struct sst_builder *b, const struct row *r) { return b->err ? b->err : (b->err = mw_add(b->w, r)); }

int sb_reuse(struct sst_builder *b, struct sst *from, uint32_t i)
{
    if (!b->err)
        b->err = mw_cut(b->w);
    if (!b->err)
        push_block(b, &from->blk[i], from->files[from->file[i]]);
    return b->err;
}

struct sst *sb_finish(struct sst_builder *b)
{
    struct sst *s = b->s;
    int rc = mw_close(b->w);
    if (!rc)
        rc = b->err;
    struct base_meta *m = &s->meta;
    const uint16_t *ids;
    m->index_id = s->key.table_id;
    m->n_cols = (int)macro_columns(b->spec.multi_version, &ids);
    m->rowkey_cols = b->spec.multi_version ? 3 : 1;
    for (int c = 0; c < m->n_cols; c++)
        m->col_id[c] = ids[c];
    uint64_t chain = 0;
    for (uint32_t i = 0; i < s->n; i++) {
        const struct block_desc *d = &s->blk[i];
        m->row_count += d->row_count;
        m->occupy_size += d->occupy;
        chain = ob_crc(chain, &d->data_checksum, 8);
        for (int c = 0; c < m->n_cols; c++)
            m->col_checksum[c] = wrap_add(m->col_checksum[c], d->col_checksum[c]);
        m->has_uncommitted |= d->has_uncommitted;
        if (d->max_version > s->max_version)
            s->max_version = d->max_version;
    }
    m->data_checksum = (int64_t)chain;
    m->data_version = s->key.type == T_MAJOR ? s->key.version : 0;
    m->macro_count = s->n;
    m->index_type = b->spec.index_type;
    m->schema_version = b->spec.schema_version;
    m->create_snapshot_version = s->key.v.snapshot_version;
    m->checksum_method = s->key.type == T_MAJOR ? 2 : 0;
    m->logical_data_version = s->key.type == T_MAJOR ? s->key.version : s->key.v.snapshot_version;
    m->pg_key = b->spec.pg_key;
    m->rowkey_type = b->spec.multi_version ? 2 : 3;
    m->upper_trans_version = INT64_MAX;
    m->max_merged_trans_version = s->max_version;
    m->end_log_id = b->spec.end_log_id;
    if (!m->has_uncommitted && s->key.type != T_MAJOR)
        m->upper_trans_version =
            s->max_version > s->key.v.snapshot_version ? s->max_version : s->key.v.snapshot_version;
    if (!rc)
        rc = write_desc(s);
    if (b->out)
        bfile_unref(b->out, rc != 0);
    free(b);
    if (rc) {
        release(s, true);
        return NULL;
    }
    return s;
}

/* ---- scanning */

void scan_open(struct sst_scan *c, struct sst *s, uint32_t from, uint32_t end)
{
    *c = (struct sst_scan){.s = s, .next = from, .end = end < s->n ? end : s->n};
}

int scan_next(struct sst_scan *c, struct row *r)
{
    for (;;) {
        if (c->open) {
            int rc = mi_next(&c->it, r);
            if (rc)
                return rc;
            c->open = false;
        }
        if (c->next >= c->end)
            return 0;
        c->meta.n = c->block.n = 0;
        if (sst_read_block(c->s, c->next++, &c->meta, &c->block))
            return -1;
        mi_close(&c->it);
        if (!mi_open(&c->it, c->block.p, c->block.n))
            return -1;
        c->open = true;
    }
}

void scan_close(struct sst_scan *c)
{
    mi_close(&c->it);
    ob_free(&c->block);
    ob_free(&c->meta);
}

/* ---- rows in memory */

struct chunk {
    struct chunk *next;
    size_t used, cap;
    uint8_t p[];
};

static uint8_t *arena(struct rows *d, size_t n)
{
    if (!d->mem || d->mem->used + n > d->mem->cap) {
        size_t cap = n > (1u << 20) ? n : (1u << 20);
        struct chunk *c = xmalloc(sizeof *c + cap);
        *c = (struct chunk){.next = d->mem, .cap = cap};
        d->mem = c;
    }
    d->mem->used += n;
    return d->mem->p + d->mem->used - n;
}

void rows_ref(struct rows *d, const struct row *r)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 64;
        d->r = xrealloc(d->r, d->cap * sizeof *d->r);
    }
    d->r[d->n++] = *r;
}

void rows_add(struct rows *d, const struct row *r)
{
    rows_ref(d, r);
    struct row *to = &d->r[d->n - 1];
    uint8_t *p = arena(d, (size_t)r->klen + r->vlen);
    memcpy(p, r->key, r->klen);
    if (r->vlen)
        memcpy(p + r->klen, r->val, r->vlen);
    to->key = p;
    to->val = p + r->klen;
}

static int row_order(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int c = key_cmp(x->key, x->klen, y->key, y->klen);
    if (c)
        return c;
    if (x->state != y->state)
        return x->state ? -1 : 1; /* uncommitted first */
    if (x->version != y->version)
        return x->version > y->version ? -1 : 1;
    if (x->redo_ts != y->redo_ts)
        return x->redo_ts > y->redo_ts ? -1 : 1;
    return (x->trans_id < y->trans_id) - (x->trans_id > y->trans_id);
}

void rows_sort(struct rows *d)
{
    size_t k = 0;
    if (d->n)
        qsort(d->r, d->n, sizeof *d->r, row_order);
    for (size_t i = 0; i < d->n; i++) {
        const struct row *p = k ? &d->r[k - 1] : NULL, *r = &d->r[i];
        if (p && r->trans_id && p->trans_id == r->trans_id && p->redo_ts == r->redo_ts &&
            !key_cmp(p->key, p->klen, r->key, r->klen))
            continue;
        d->r[k++] = *r;
    }
    d->n = k;
}

void rows_free(struct rows *d)
{
    for (struct chunk *c = d->mem; c;) {
        struct chunk *next = c->next;
        free(c);
        c = next;
    }
    free(d->r);
    *d = (struct rows){0};
}

int rows_add_sst(struct rows *d, struct sst *s)
{
    struct sst_scan c;
    struct row r;
    int rc;
    scan_open(&c, s, 0, s->n);
    while ((rc = scan_next(&c, &r)) > 0)
        rows_add(d, &r);
    scan_close(&c);
    return rc;
}
