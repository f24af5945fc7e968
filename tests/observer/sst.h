/* sst.h - sstables of one replica: block files, descriptors, building and scanning, rows gathered from several of them
 */
#ifndef OBS_SST_H
#define OBS_SST_H

#include "cluster.h"

struct bfile { /* file of blocks, shared by the sstables that use it */
    _Atomic int refs;
    int fd;
    bool local; /* removed with its last user */
    char *path;
};

struct sst {
    _Atomic int refs;
    struct table_key key;
    struct base_meta meta;
    enum compressor comp;
    bool int_key;
    int64_t max_version; /* greatest commit version inside */
    uint32_t n;
    struct block_desc *blk;
    uint16_t *file; /* per block */
    int n_files;
    struct bfile **files;
    char *path; /* descriptor */
    bool local;
    _Atomic bool doomed; /* files go with the last reference */
};

struct sst *sst_load(struct host *h, const char *path);
struct sst *sst_ref(struct sst *s);
void sst_unref(struct sst *s);
/** Removes the files with the last reference (local ones). */
void sst_doom(struct sst *s);
/** Meta entry and block of block i: 0 or -errno. Appended. */
int sst_read_block(struct sst *s, uint32_t i, struct obuf *meta, struct obuf *block);

struct sst_spec {
    struct table_key key;
    struct pkey pg_key;
    enum compressor comp;
    bool int_key, multi_version;
    int index_type;
    int64_t schema_version, data_version, first_seq;
    uint64_t end_log_id;
    const char *path; /* without suffix: .sst and .blk are added */
    bool local;
};
struct sst_builder;
struct sst_builder *sb_new(struct host *h, const struct sst_spec *s);
int sb_add(struct sst_builder *b, const struct row *r);
/** Takes block i of an older sstable as it is. */
int sb_reuse(struct sst_builder *b, struct sst *from, uint32_t i);
/** Writes the descriptor; NULL on error. Frees the builder. */
struct sst *sb_finish(struct sst_builder *b);

/** Walks the rows of a sstable in order. */
struct sst_scan {
    struct sst *s;
    uint32_t next, end;
    struct obuf block, meta;
    struct macro_iter it;
    bool open;
};
void scan_open(struct sst_scan *c, struct sst *s, uint32_t from, uint32_t end);
int scan_next(struct sst_scan *c, struct row *r); /* 1, 0, -1 */
void scan_close(struct sst_scan *c);

/** Rows held in memory, copied. */
struct chunk;
struct rows {
    struct row *r;
    size_t n, cap;
    struct chunk *mem;
};
void rows_add(struct rows *d, const struct row *r);
void rows_ref(struct rows *d, const struct row *r); /* without a copy of key and value */
void rows_sort(struct rows *d);                     /* CONTRACT.md 1, and drops repeated changes */
void rows_free(struct rows *d);
int rows_add_sst(struct rows *d, struct sst *s);

#endif
