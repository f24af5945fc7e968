/* kit.h - what the cases of obvault-plugin-check share
 *
 * Every case runs in a process of its own, which loads the plugin anew: a crash or a hang fails that case alone. A case
 * ends by returning (passed), or anywhere, in any of its threads, by need() (failed) or kit_skip().
 */
#ifndef OBVAULT_PLUGIN_CHECK_KIT_H
#define OBVAULT_PLUGIN_CHECK_KIT_H

#include "obvault/storage_plugin.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

enum { KIT_OPTIONS_MAX = 64, KIT_NOTES_MAX = 16, KIT_TEXT_MAX = 400, KIT_PATH_MAX = 1024 };

/* What the command line says. */
struct kit_config {
    const char *so; /* absolute path */
    obv_kv options[KIT_OPTIONS_MAX];
    size_t option_count;
    obv_kv credentials[KIT_OPTIONS_MAX]; /* value: file that holds it */
    size_t credential_count;
    const char *folder_option; /* name of the option that is a local folder, NULL: as the plugin declares */
    const char *only[KIT_OPTIONS_MAX];
    size_t only_count;
    uint64_t big_bytes;
    unsigned keys;
    unsigned timeout_s;
    bool json;
};

/* What the plugin says of itself, found out in a process of its own. */
struct kit_info {
    bool loaded, opened;
    char trouble[KIT_TEXT_MAX]; /* why not */
    char name[64], version[64];
    uint32_t major, minor, threads, caps;
    uint32_t probed; /* capabilities found here, within caps */
    char identity[160];
    char folder[KIT_PATH_MAX]; /* local folder of the repository, "" if it has none */
    char folder_option[64];    /* the option that names it */
    uint32_t option_count;
    struct {
        char name[64], fallback[64], doc[160];
        uint32_t kind, flags;
    } options[KIT_OPTIONS_MAX];
};

enum kit_verdict { KIT_UNDECIDED, KIT_PASS, KIT_FAIL, KIT_SKIP };

/* Shared between the kit and the processes of its cases. */
struct kit_shared {
    _Atomic int verdict; /* enum kit_verdict; the first to decide writes reason */
    char reason[KIT_TEXT_MAX];
    atomic_uint note_count; /* breaches of the small print of errors, in whatever case they were seen */
    char notes[KIT_NOTES_MAX][KIT_TEXT_MAX];
    struct kit_info info;
};

struct kit {
    const struct kit_config *cfg;
    const struct kit_info *info;
    struct kit_shared *shared;
    const char *case_name;
    const obv_storage_plugin *p;
    uint32_t caps;      /* what works here */
    struct kit_repo *r; /* open, unless the case has KIT_NO_OPEN */
};

/* One open repository and what the host of it answers. */
struct kit_repo {
    struct kit *k;
    obv_repo_handle *r;
    pthread_mutex_t mu; /* held during each call when the plugin is SERIAL */
    struct {
        obv_host host;
        uint8_t later[64]; /* a newer host's struct is longer */
    } host;
    atomic_long cancel_after;    /* polls that still hear no; -1: for ever */
    _Atomic int64_t deadline_ns; /* CLOCK_MONOTONIC, 0: none */
    atomic_long polls;
};

struct kit_put {
    struct kit_repo *r;
    obv_put_handle *h;
};

enum {
    KIT_ADVISED = 1u << 0,   /* a failure lowers the grade, the plugin still conforms */
    KIT_NO_OPEN = 1u << 1,   /* the case opens repositories itself */
    KIT_FORGETFUL = 1u << 2, /* applies also to a plugin that keeps nothing */
    KIT_FOLDER = 1u << 3,    /* needs a repository in a local folder */

    KIT_NO_TABLE = 1u << 4, /* applies even when the plugin's table cannot be used */
};

struct kit_case {
    const char *name;
    const char *sentence; /* of the contract */
    uint32_t caps;        /* OBV_CAP_ that it is about */
    uint32_t flags;
    void (*run)(struct kit *k);
};

struct kit_group {
    const struct kit_case *cases;
    size_t count;
};
extern const struct kit_group KIT_ABI, KIT_OPEN, KIT_PUT, KIT_EXCLUSIVE, KIT_APPEND, KIT_READ, KIT_LIST, KIT_REMOVE,
    KIT_MEMORY, KIT_CANCEL, KIT_THREADS, KIT_CRASH, KIT_DISK, KIT_ERRORS;
#define KIT_GROUP(cases_)                                                                                              \
    {                                                                                                                  \
        .cases = (cases_), .count = sizeof(cases_) / sizeof *(cases_)                                                  \
    }

/* ---- verdicts (verdict.c) */
/** Ends the case as failed, from any thread. */
_Noreturn void kit_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void kit_skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** Remarks a breach of the rules of obv_store_err; judged by errors.record. */
void kit_note(const struct kit *k, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void kit_verdict_to(struct kit_shared *to);
#define need(cond, ...)                                                                                                \
    do {                                                                                                               \
        if (!(cond))                                                                                                   \
            kit_fail(__VA_ARGS__);                                                                                     \
    } while (0)
/** The call must return this class; the text says what was called. */
#define need_class(call, want, ...)                                                                                    \
    do {                                                                                                               \
        const obv_store_class got_ = (call);                                                                           \
        if (got_ != (want))                                                                                            \
            kit_wrong_class(got_, (want), __VA_ARGS__);                                                                \
    } while (0)
#define need_ok(call, ...) need_class(call, OBV_STORE_OK, __VA_ARGS__)
_Noreturn void kit_wrong_class(obv_store_class got, obv_store_class want, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
const char *kit_class_name(obv_store_class cls);
/** Text of the last failed call of this thread. */
const char *kit_last_msg(void);

/* ---- loading and opening (load.c) */
/** Loads the plugin; on failure the reason is in why. */
const obv_storage_plugin *kit_load(const char *so, char *why, size_t cap);
/** Opens with these options instead of the configured ones. *out is written only on OK. */
obv_store_class kit_open_with(struct kit *k, const obv_kv *kv, size_t n, struct kit_repo **out);
/** Opens one more handle; failing ends the case. */
struct kit_repo *kit_open(struct kit *k);
void kit_close(struct kit_repo *r);
/** True when the text holds one of the credentials of the command line. */
bool kit_tells_secret(const struct kit *k, const char *text);
/** Finds out what the plugin says of itself. */
void kit_inspect(struct kit *k, struct kit_info *out);

/* ---- calls into the plugin (call.c): serialised if it must be, error records judged */
obv_store_class kit_probe(struct kit_repo *r, obv_probe_result *out);
obv_store_class kit_put_begin(struct kit_repo *r, const char *key, bool if_absent, struct kit_put *out);
obv_store_class kit_put_write(struct kit_put *p, const void *buf, size_t len);
obv_store_class kit_put_commit(struct kit_put *p, obv_object_info *info);
void kit_put_abort(struct kit_put *p);
/** A whole object; aborted when a write fails. */
obv_store_class kit_put_bytes(struct kit_repo *r, const char *key, bool if_absent, const void *buf, size_t len);
obv_store_class kit_append(struct kit_repo *r, const char *key, uint64_t at, const void *buf, size_t len);
obv_store_class kit_sync(struct kit_repo *r, const char *const *keys, size_t n, obv_store_class *results);
obv_store_class kit_get(struct kit_repo *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got);
obv_store_class kit_head(struct kit_repo *r, const char *key, obv_object_info *info);
obv_store_class kit_list(struct kit_repo *r, const char *prefix, obv_list_fn *fn, void *ctx);
obv_store_class kit_remove(struct kit_repo *r, const char *const *keys, size_t n, obv_store_class *results);
obv_store_class kit_remove_one(struct kit_repo *r, const char *key);
obv_store_class kit_copy(struct kit_repo *r, const char *from, const char *to, bool if_absent);
obv_store_class kit_sweep(struct kit_repo *r, uint64_t age_s, uint64_t *swept);
/** A fresh error record of this thread that ends at a guard page, and the judgement of it after the call. */
obv_store_err *kit_err_fresh(void);
obv_store_class kit_err_judge(const struct kit *k, const char *call, obv_store_class cls, const obv_store_err *err);
/** Runs one call with the record: for cases that must call the table themselves. */
#define KIT_CALL(repo, name, call)                                                                                     \
    (__extension__({                                                                                                   \
        obv_store_err *err = kit_err_fresh();                                                                          \
        kit_lock(repo);                                                                                                \
        const obv_store_class cls_ = (call);                                                                           \
        kit_unlock(repo);                                                                                              \
        kit_err_judge((repo)->k, (name), cls_, err);                                                                   \
    }))
void kit_lock(struct kit_repo *r);
void kit_unlock(struct kit_repo *r);

/* ---- contents and expectations (content.c) */
void *kit_alloc(size_t len);
/** Bytes that depend on seed and offset only. */
void kit_fill(void *buf, uint64_t offset, size_t len, uint64_t seed);
/** Puts an object of the given bytes in pieces; failing ends the case. */
void kit_make(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed);
/** The object has exactly these bytes, read in pieces, and head and listing say its size. */
void kit_need_object(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed);
bool kit_has_object(struct kit_repo *r, const char *key, uint64_t len, uint64_t seed);
/** Neither head, get nor a listing shows it. */
void kit_need_absent(struct kit_repo *r, const char *key);
struct kit_count {
    uint64_t count, bytes;
    char first[OBV_KEY_MAX + 1];
};
/** Counts what a listing of prefix shows; failing ends the case. */
struct kit_count kit_count(struct kit_repo *r, const char *prefix);

/* ---- memory with a guard page behind it (content.c) */
/** len bytes that end where the next byte faults, filled with 0xA5; the bytes before it are watched. Never freed. */
void *kit_guarded(size_t len);
bool kit_guarded_intact(const void *guarded, size_t len); /* nothing before it was written */

/* ---- processes and threads (process.c) */
typedef void kit_child_fn(struct kit *k, struct kit_repo *r, void *ctx);
/** Runs fn in a process with a handle of its own, and kills that with SIGKILL as soon as fn returns. */
void kit_killed_child(struct kit *k, kit_child_fn *fn, void *ctx);
/** Starts n threads, fn(ctx + i * size), and joins them. */
void kit_threads(void *(*fn)(void *), void *ctx, size_t size, unsigned n);
int64_t kit_now_ns(void);
void kit_sleep_ms(unsigned ms);

/* ---- the local folder (folder.c) */
/** Entries below the folder; not the folder of temporaries itself. */
struct kit_tree {
    unsigned files, folders, temporaries;
    char sample[256];
};
struct kit_tree kit_scan(const char *folder);
/** Removes everything in it. */
int kit_wipe(const char *folder);
/** Mounts a tmpfs over the repository's folder, for this process and its children; skips the case if not allowed. */
void kit_mount_over(struct kit *k, const char *tmpfs_options);
int kit_remount_read_only(struct kit *k);
int kit_unmount(struct kit *k);

/* ---- system calls of the plugin, which resolve to the kit's (interpose.c) */
struct kit_calls {
    atomic_uint file_syncs, folder_syncs, writes;
    _Atomic int fail_sync, fail_close; /* errno of the next one on a regular file, 0: none */
    _Atomic bool short_writes;
};
extern struct kit_calls kit_calls;

/* ---- running and reporting (run.c, report.c) */
struct kit_result {
    enum kit_verdict verdict;
    char reason[KIT_TEXT_MAX];
    unsigned ms;
};
/** Runs one case in its process and cleans the repository up behind it. */
void kit_run_case(struct kit *k, const struct kit_case *c, struct kit_result *out);
/** Fills info in a process of its own. */
void kit_run_inspect(struct kit *k);
/** 0 when the repository holds nothing; else what is there is in why. */
int kit_run_is_empty(struct kit *k, char *why, size_t cap);
void kit_report_list(bool json);
void kit_report_describe(const struct kit_info *info, bool json);
void kit_report_begin(const struct kit *k);
void kit_report_case(const struct kit *k, const struct kit_case *c, const struct kit_result *res);
/** Prints the summary; true when every required case passed. */
bool kit_report_end(const struct kit *k);
extern const struct kit_group *const KIT_GROUPS[];
extern const size_t KIT_GROUP_COUNT;

#endif
