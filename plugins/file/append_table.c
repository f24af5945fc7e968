#include "append_table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    OPEN_LEAST = 64,
    OPEN_MOST = 16384,
    CLEAN_MOST = 1024 /* nothing is lost by closing them: they are kept for the next append only */
};

bool append_table_init(struct append_table *t)
{
    struct rlimit files;
    *t = (struct append_table){.limit = OPEN_LEAST, .bucket_count = 256};
    /* half of them: the process has its own, and maybe a second repository */
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur / 2 > OPEN_LEAST)
        t->limit = files.rlim_cur / 2 < OPEN_MOST ? files.rlim_cur / 2 : OPEN_MOST;
    while (t->bucket_count < t->limit)
        t->bucket_count *= 2;
    t->buckets = calloc(t->bucket_count, sizeof *t->buckets);
    if (!t->buckets)
        return false;
    for (int i = 0; i < APPEND_STATES; i++)
        TAILQ_INIT(&t->idle[i]);
    (void)pthread_mutex_init(&t->mu, NULL);
    (void)pthread_cond_init(&t->freed, NULL);
    return true;
}

static void free_file(struct append_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    free(f->key);
    free(f);
}

void append_table_fini(struct append_table *t)
{
    if (!t->buckets)
        return;
    for (size_t i = 0; i < t->bucket_count; i++) {
        struct append_file *f;
        while ((f = LIST_FIRST(&t->buckets[i])) != NULL) {
            LIST_REMOVE(f, bucket);
            free_file(f);
        }
    }
    free(t->buckets);
    (void)pthread_cond_destroy(&t->freed);
    (void)pthread_mutex_destroy(&t->mu);
}

static struct append_bucket *bucket_of(const struct append_table *t, const char *key)
{
    uint64_t h = 0xcbf29ce484222325; /* FNV-1a */
    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * 0x100000001b3;
    return &t->buckets[h & (t->bucket_count - 1)];
}

static void unlist(struct append_table *t, struct append_file *f)
{
    TAILQ_REMOVE(&t->idle[f->state], f, order);
    t->clean -= f->state == APPEND_CLEAN;
    f->taken = true;
}

static void tell(struct append_table *t)
{
    if (t->waiting)
        (void)pthread_cond_broadcast(&t->freed);
}

void append_table_wait(struct append_table *t)
{
    t->waiting++;
    (void)pthread_cond_wait(&t->freed, &t->mu);
    t->waiting--;
}

struct append_file *append_table_take(struct append_table *t, const char *key)
{
    const struct append_bucket *b = bucket_of(t, key);
    for (;;) {
        struct append_file *f;
        LIST_FOREACH(f, b, bucket)
        {
            if (strcmp(f->key, key) == 0)
                break;
        }
        if (!f)
            return NULL;
        if (!f->taken) {
            unlist(t, f);
            return f;
        }
        append_table_wait(t);
    }
}

struct append_file *append_table_add(struct append_table *t, const char *key)
{
    struct append_file *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->key = strdup(key);
    f->fd = -1;
    f->taken = true;
    if (!f->key) {
        free(f);
        return NULL;
    }
    LIST_INSERT_HEAD(bucket_of(t, key), f, bucket);
    t->open++;
    return f;
}

struct append_file *append_table_oldest(struct append_table *t, enum append_state state)
{
    struct append_file *f = TAILQ_FIRST(&t->idle[state]);
    if (f)
        unlist(t, f);
    return f;
}

void append_table_drop(struct append_table *t, struct append_file *f)
{
    LIST_REMOVE(f, bucket);
    t->open--;
    free_file(f);
    tell(t);
}

void append_table_give(struct append_table *t, struct append_file *f)
{
    f->taken = false;
    TAILQ_INSERT_TAIL(&t->idle[f->state], f, order);
    t->clean += f->state == APPEND_CLEAN;
    if (t->clean > CLEAN_MOST)
        append_table_drop(t, append_table_oldest(t, APPEND_CLEAN));
    tell(t);
}
