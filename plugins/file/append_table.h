/* append_table.h - files that are kept open for appends: found by key, bounded in number
 *
 * A file is taken by one thread at a time. What nobody has taken waits in the list of its state, least recently used
 * first: clean ones are closed when too many are open, dirty ones must be made durable first, poisoned ones are kept
 * for as long as there is room, because they must not be appended to.
 */
#ifndef OBVAULT_PLUGIN_FILE_APPEND_TABLE_H
#define OBVAULT_PLUGIN_FILE_APPEND_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

enum append_state {
    APPEND_CLEAN,
    APPEND_DIRTY,    /* appended since the last good sync */
    APPEND_POISONED, /* a sync failed: what was appended since the last good one counts as lost */
    APPEND_STATES
};

/* A file with appends that may not be durable yet; its fd stays open so that no write error is lost. */
struct append_file {
    char *key;
    int fd; /* -1: not opened yet */
    enum append_state state;
    bool created; /* by us: its folder must be synced too */
    bool taken;   /* a thread works with it */
    LIST_ENTRY(append_file) bucket;
    TAILQ_ENTRY(append_file) order; /* of its state's list, while not taken */
};
LIST_HEAD(append_bucket, append_file);
TAILQ_HEAD(append_list, append_file);

struct append_table {
    pthread_mutex_t mu; /* all below */
    pthread_cond_t freed;
    unsigned waiting;
    struct append_bucket *buckets;
    size_t bucket_count; /* a power of two */
    size_t open, limit, clean;
    struct append_list idle[APPEND_STATES];
};

/** As many files as the process's limit of descriptors leaves to us. false: no memory. */
bool append_table_init(struct append_table *t);
/** Closes and frees all. */
void append_table_fini(struct append_table *t);

/* All below: locked by the caller. */
/** The file of key, taken; waits while another thread has it. NULL: it is not open. */
struct append_file *append_table_take(struct append_table *t, const char *key);
/** A new entry for key, taken, not opened; there must be room. NULL: no memory. */
struct append_file *append_table_add(struct append_table *t, const char *key);
/** The least recently used file of that state, taken; NULL: none that nobody has. */
struct append_file *append_table_oldest(struct append_table *t, enum append_state state);
/** Waits until a file is given back or closed. */
void append_table_wait(struct append_table *t);
/** Gives a taken file back. Clean ones beyond a fixed number are closed. */
void append_table_give(struct append_table *t, struct append_file *f);
/** Closes and frees a taken file. */
void append_table_drop(struct append_table *t, struct append_file *f);

#endif
