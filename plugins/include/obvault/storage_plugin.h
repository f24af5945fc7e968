/*
 * storage_plugin.h - the ABI between obvault-agent and a storage plugin (a shared object loaded with dlopen).
 *
 * A plugin includes only this header, links nothing of obvault, exports one symbol (OBV_STORAGE_PLUGIN_EXPORT) and may
 * call back only what struct obv_host offers. Calls block; the agent makes them from several threads at once when the
 * plugin says OBV_THREADS_PARALLEL, otherwise one at a time for each repository. A plugin classifies errors and never
 * retries: one wrapper in the agent does. It keeps no globals, is never dlclosed, and logs no secret.
 *
 * Keys are relative paths: components of [A-Za-z0-9._@=+-], separated by single '/', no component "." or "..", no
 * leading or trailing '/', at most OBV_KEY_PART_MAX bytes a component and OBV_KEY_MAX bytes in all. No component
 * begins with ".nfs" (an NFS client's name for a file removed while open), and the first is not OBV_TMP_FOLDER, which
 * is the plugin's own place. Anything else is refused as OBV_STORE_FATAL by every function that takes a key. The agent
 * never uses one key as a folder of another.
 *
 * All memory that crosses the ABI belongs to the caller and is the plugin's to use only during the call: names, options
 * and buffers that outlive it are copied. Structs with a size member may be longer than the plugin knows.
 *
 * `obvault-plugin-check` grades a plugin against every sentence of this header; docs/plugin-guide.md is the guide.
 *
 * History, one line a minor version. While the major is 0, minor versions must be equal on both sides.
 *   0.1  first version
 *   0.2  options and option_count at the end of obv_storage_plugin, OBV_CAP_FORGETS; the limits of a key's components,
 *        the class of a refused key, append to an absent object and the meaning of the deadline are spelled out
 */
#ifndef OBVAULT_STORAGE_PLUGIN_H
#define OBVAULT_STORAGE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define OBV_STORAGE_ABI_MAJOR 0u /* another meaning or layout */
#define OBV_STORAGE_ABI_MINOR 2u /* fields appended at the end of a struct */
#define OBV_KEY_MAX 1024u        /* bytes, without the terminating zero */
#define OBV_KEY_PART_MAX 255u    /* bytes of one component */
#define OBV_TMP_FOLDER ".obvault-tmp"
#define OBV_STORAGE_SYMBOL "obv_storage_plugin_v0"

/* What a caller should do about a failure. Numbers are ABI: append only. */
typedef enum obv_store_class {
    OBV_STORE_OK = 0,
    OBV_STORE_NOT_FOUND = 1, /* no such object or repository root */
    OBV_STORE_EXISTS = 2,    /* if-absent put: an object of that name is there; nothing was changed */
    OBV_STORE_CONFLICT = 3,  /* append: the object does not end where the caller thinks; nothing was changed */
    OBV_STORE_DENIED = 4,    /* permission or signature refused */
    OBV_STORE_EXPIRED = 5,   /* credentials expired: refresh and try again */
    OBV_STORE_NO_SPACE = 6,  /* disk, quota or inode limit */
    OBV_STORE_READ_ONLY = 7, /* storage refuses writes as a whole */
    OBV_STORE_CORRUPT = 8,   /* what was read is provably not what was written */
    OBV_STORE_STALE = 9,     /* the mount went away or was replaced (ESTALE): open the repository anew */
    OBV_STORE_CONFIG = 10,   /* an option is wrong or missing; msg names it */
    OBV_STORE_UNSUPPORTED = 11,
    OBV_STORE_CANCELLED = 12,
    OBV_STORE_IO = 13,        /* I/O error that repeating does not cure, e.g. a failed fsync */
    OBV_STORE_FATAL = 14,     /* anything else that repeating does not cure */
    OBV_STORE_RETRY = 64,     /* the same call may succeed later */
    OBV_STORE_THROTTLED = 65, /* as RETRY, after retry_after_ms */
} obv_store_class;

typedef struct obv_store_err {
    obv_store_class cls;
    int32_t sys;             /* errno or HTTP status, 0 if none */
    uint32_t retry_after_ms; /* THROTTLED only */
    char provider_code[64];  /* e.g. "SlowDown", "" if none */
    char request_id[64];     /* the provider's id of the failed request, "" if none */
    char msg[240];           /* one line, terminated, no secret */
} obv_store_err;

enum { OBV_THREADS_SERIAL = 0, OBV_THREADS_PARALLEL = 1 };

enum {
    OBV_CAP_IF_ABSENT = 1u << 0,      /* put with if_absent is exclusive also between hosts */
    OBV_CAP_APPEND = 1u << 1,         /* append and sync work */
    OBV_CAP_REPLACE = 1u << 2,        /* a put over an existing object replaces it atomically */
    OBV_CAP_SERVER_COPY = 1u << 3,    /* copy does not move bytes through this host */
    OBV_CAP_OBSERVER_READS = 1u << 4, /* an OBServer can read the repository in place (a file system path) */
    OBV_CAP_FORGETS = 1u << 5,        /* 0.2: keeps nothing it is given, for measurements: never holds a repository */
};

enum { OBV_HOST_LOG_ERROR = 0, OBV_HOST_LOG_WARN = 1, OBV_HOST_LOG_INFO = 2, OBV_HOST_LOG_DEBUG = 3 };

typedef struct obv_kv {
    const char *key, *value; /* value is never NULL */
} obv_kv;

/* What the agent offers. Valid until close. The callbacks are made on the thread of the call. */
typedef struct obv_host {
    uint32_t size;
    void *ctx;
    void (*log)(void *ctx, int level, const char *msg);
    int (*cancelled)(void *ctx); /* non-0: the calling job wants out; return OBV_STORE_CANCELLED soon */
    /* Time left for this call, UINT64_MAX if unbounded. A plugin that waits (network, lock) waits no longer than that
     * and returns OBV_STORE_CANCELLED; once the time is over, cancelled says so too. */
    uint64_t (*deadline_ms)(void *ctx);
    /* Fills out with the current value of credential `name` (terminated); 0, or -1 if there is none. Never cache it. */
    int (*credential)(void *ctx, const char *name, char *out, size_t cap);
} obv_host;

typedef struct obv_repo_handle obv_repo_handle; /* the plugin's own: one open repository */
/* The plugin's own: one put under way. One call at a time, not always from the thread that began it. */
typedef struct obv_put_handle obv_put_handle;

typedef struct obv_object_info {
    uint64_t size; /* bytes */
    int64_t mtime_us;
    char etag[80]; /* provider's, "" if none */
} obv_object_info;

typedef struct obv_put_opts {
    uint32_t size;
    uint32_t if_absent; /* 1: EXISTS if an object of that name is there at commit */
    uint64_t size_hint; /* bytes, 0 if unknown; not a limit */
} obv_put_opts;

typedef struct obv_probe_result {
    uint32_t caps;       /* OBV_CAP_ bits found to work here */
    uint64_t free_bytes; /* UINT64_MAX if unknown */
    char identity[160];  /* what storage this is, e.g. file system type and id; for people */
} obv_probe_result;

/* key and info are valid during the callback, which makes no call into the plugin. Non-0 stops the listing, which
 * then returns OK. */
typedef int obv_list_fn(void *ctx, const char *key, const obv_object_info *info);

/* 0.2: an option that open understands, for people and for tools. */
enum {
    OBV_OPTION_TEXT = 0,
    OBV_OPTION_YES_NO = 1, /* "yes" or "no"; anything else is OBV_STORE_CONFIG */
    OBV_OPTION_NUMBER = 2, /* decimal, 0 or more; anything else is OBV_STORE_CONFIG */
    OBV_OPTION_FOLDER = 3, /* absolute path on this host that holds the repository; missing: NOT_FOUND */
    OBV_OPTION_PLUGIN = 4, /* absolute path of another storage plugin, which this one wraps: it gets the options that
                              this one does not know */
};
enum { OBV_OPTION_REQUIRED = 1u << 0 }; /* left out: OBV_STORE_CONFIG */

typedef struct obv_option {
    const char *name;
    uint32_t kind;        /* OBV_OPTION_TEXT ... */
    uint32_t flags;       /* OBV_OPTION_REQUIRED */
    const char *fallback; /* value when left out, "" if none */
    const char *doc;      /* one sentence */
} obv_option;

/*
 * Every function returns the class also stored in err->cls and writes err only on failure.
 * Functions marked (optional) may be NULL when the capability is absent.
 */
typedef struct obv_storage_plugin {
    uint32_t size; /* sizeof(struct obv_storage_plugin) when the plugin was built */
    uint32_t abi_major, abi_minor;
    uint32_t threads; /* OBV_THREADS_ */
    uint32_t caps;    /* what the plugin can at best; probe tells what this repository allows */
    const char *name, *version;

    /* Opens a repository; unknown keys in cfg are OBV_STORE_CONFIG. Creates nothing. Missing root: NOT_FOUND. */
    obv_store_class (*open)(const obv_host *host, const obv_kv *cfg, size_t n, obv_repo_handle **out,
                            obv_store_err *err);
    void (*close)(obv_repo_handle *r);
    /* Tries each capability with objects of its own below ".obvault-tmp" and removes them. */
    obv_store_class (*probe)(obv_repo_handle *r, obv_probe_result *out, obv_store_err *err);

    /* One object of unknown length. Nothing is visible before commit; commit OK = durable. commit and abort consume
     * the put, also when they fail; after a failed commit the object is either whole or absent. */
    obv_store_class (*put_begin)(obv_repo_handle *r, const char *key, const obv_put_opts *opts, obv_put_handle **out,
                                 obv_store_err *err);
    obv_store_class (*put_write)(obv_put_handle *p, const void *buf, size_t len, obv_store_err *err);
    obv_store_class (*put_commit)(obv_put_handle *p, obv_object_info *out, obv_store_err *err);
    void (*put_abort)(obv_put_handle *p);

    /* (optional) Writes len bytes at offset `at`, which must be the object's length: CONFLICT otherwise, NOT_FOUND if
     * it is absent. 0: the object is created and must not exist, EXISTS otherwise. Not durable until sync. Parents are
     * created. A short write leaves a longer object: the caller treats any failure as "length unknown". */
    obv_store_class (*append)(obv_repo_handle *r, const char *key, uint64_t at, const void *buf, size_t len,
                              obv_store_err *err);
    /* (optional) Durability point of earlier appends to keys[0..n); results[i] for each key. Returns OK only if all
     * are. A failed sync of a key is final: what was appended since the last good sync must be taken as lost. */
    obv_store_class (*sync)(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                            obv_store_err *err);

    /* Reads up to len bytes from off; *got < len only at the end of the object; past the end, at any offset: OK and 0
     * bytes. */
    obv_store_class (*get)(obv_repo_handle *r, const char *key, uint64_t off, void *buf, size_t len, size_t *got,
                           obv_store_err *err);
    obv_store_class (*head)(obv_repo_handle *r, const char *key, obv_object_info *out, obv_store_err *err);
    /* All objects whose key starts with prefix (plain string prefix, "" = all), unordered; temporaries never appear. */
    obv_store_class (*list)(obv_repo_handle *r, const char *prefix, obv_list_fn *fn, void *ctx, obv_store_err *err);
    /* Deletes; an absent object is OK. results[i] for each key. Returns OK only if all are. Empty folders vanish. */
    obv_store_class (*remove)(obv_repo_handle *r, const char *const *keys, size_t n, obv_store_class *results,
                              obv_store_err *err);
    /* (optional) */
    obv_store_class (*copy)(obv_repo_handle *r, const char *from, const char *to, uint32_t if_absent,
                            obv_store_err *err);
    /* Removes unfinished uploads and temporaries older than age_s; *swept counts them. */
    obv_store_class (*sweep)(obv_repo_handle *r, uint64_t age_s, uint64_t *swept, obv_store_err *err);

    /* 0.2: what open understands, option_count entries; may be NULL when open takes no option. */
    const obv_option *options;
    uint32_t option_count;
    /* 0.3 fields go here */
} obv_storage_plugin;

#define OBV_STORAGE_PLUGIN_EXPORT(p)                                                                                   \
    __attribute__((visibility("default"))) const obv_storage_plugin *obv_storage_plugin_v0(void);                      \
    const obv_storage_plugin *obv_storage_plugin_v0(void) { return &(p); }

#ifdef __cplusplus
}
#endif
#endif
