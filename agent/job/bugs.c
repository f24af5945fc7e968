#include "job/bugs.h"

#ifdef OBV_TEST_FAULTS
#define OBV_LOG_MOD "bug"
#include "base/fault.h"
#include "base/log.h"

#include <pthread.h>

/* The last transaction-state block seen, and whose it was. */
static struct {
    pthread_mutex_t mu;
    obv_pg_key pg;
    uint8_t *bytes;
    size_t meta_len, data_len;
} last = {.mu = PTHREAD_MUTEX_INITIALIZER};

static void swap_locked(const obv_pg_copy *c, uint8_t *buf, obv_source_block *b)
{
    const size_t meta_len = b->meta.len;
    const size_t data_len = b->data.len;
    uint8_t *mine = malloc(meta_len + data_len);
    if (!mine)
        return;
    memcpy(mine, b->meta.p, meta_len);
    memcpy(mine + meta_len, b->data.p, data_len);
    if (last.bytes && !obv_pg_key_equal(&last.pg, c->pg)) {
        memcpy(buf, last.bytes, last.meta_len + last.data_len);
        OBV_WARN("seeded bug bug.wrong_trans_sstable: a block of PG %llu is that of PG %llu",
                 (unsigned long long)c->pg->table_id, (unsigned long long)last.pg.table_id);
        b->meta = obv_span_of(buf, last.meta_len);
        b->data = obv_span_of(buf + last.meta_len, last.data_len);
    }
    free(last.bytes);
    last.bytes = mine;
    last.meta_len = meta_len;
    last.data_len = data_len;
    last.pg = *c->pg;
}

void obv_bug_swap_trans(const obv_pg_copy *c, uint8_t *buf, obv_source_block *b)
{
    const obv_source_metas *m = c->env->source->ops->metas(c->open);
    if (!m->partitions[m->tables[b->table].partition].is_trans || !OBV_FAULT_BUG("bug.wrong_trans_sstable"))
        return;
    (void)pthread_mutex_lock(&last.mu);
    swap_locked(c, buf, b);
    (void)pthread_mutex_unlock(&last.mu);
}
#endif
