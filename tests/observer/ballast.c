/* ballast.c - see ballast.h */
#include "ballast.h"

#include "txn.h"

#define NOISE (4u << 20)

/* Half noise, half zeros in runs of 64 bytes: about what rows compress to. */
static uint8_t *make_noise(void)
{
    uint8_t *p = xcalloc(1, NOISE);
    uint64_t s = 88172645463325252u;
    for (uint32_t i = 0; i + 8 <= NOISE; i += 8)
        if (i / 64 % 2)
            st64(p + i, rnd_next(&s));
    return p;
}

void *ballast_main(void *arg)
{
    struct ballast *b = arg;
    uint8_t *noise = make_noise();
    int64_t start = now_us(), due = 0;
    uint64_t s = 1;
    uint32_t k = 0, missed = 0;
    while (!b->stop && !b->h->stopping) {
        due = (now_us() - start) * b->rate / 1000000;
        if (b->bytes >= due) {
            b->behind_us = 0;
            sleep_us(2000);
            continue;
        }
        b->behind_us = (due - b->bytes) * 1000000 / b->rate;
        uint32_t pg = b->pg[k++ % b->n];
        struct log_item it = {
            .kind = ST_BALLAST, .rest = noise + rnd_next(&s) % (NOISE - b->log_bytes), .rest_len = b->log_bytes};
        shm_lock(b->h);
        bool done = log_items(b->h, pg, &it, 1) != 0;
        shm_unlock(b->h);
        if (done) {
            b->bytes += b->log_bytes;
            b->logs++;
            missed = 0;
        } else if (++missed >= b->n) { /* no leader anywhere */
            sleep_us(20000);
            missed = 0;
        }
    }
    free(noise);
    return NULL;
}
