/* cli.h - obvault: what the parts of the command line share (docs/cli.md) */
#ifndef OBV_CLI_H
#define OBV_CLI_H

#include "base/json.h"
#include "obvault/v1/operator.pb-c.h"
#include "proto/message.h"

#include <stdio.h>

#define OBV_CLI_SCHEMA 1 /* "version" of every JSON document */

typedef struct obv_cli {
    /* where and how */
    const char *coordinator, *ca, *cert, *key;
    const char *config; /* file; NULL: OBVAULT_CONFIG, else the usual one if it is there */
    bool json, wait;
    int64_t timeout_us; /* of the whole command; 0 = none given */
    /* arguments of commands; NULL = not given */
    const char *noun, *verb, *id;
    const char *run_key, *tenant, *to, *target, *pools, *locality, *primary_zone;
    int64_t at_us;    /* 0 = not given */
    int64_t since_us; /* 0 = not given */
    bool running_only, follow, deep;
    uint32_t limit;
    uint32_t given; /* OBV_CLI_HAS_... */
    /* run */
    obv_rpc_channel *ch;
    int64_t began_ns;
    FILE *out, *note; /* stdout and stderr */
    bool note_is_terminal;
    bool silent; /* the failure is told by the exit code alone */
} obv_cli;

enum {
    OBV_CLI_HAS_WAIT = 1u << 0,
    OBV_CLI_HAS_RUN_KEY = 1u << 1,
    OBV_CLI_HAS_TENANT = 1u << 2,
    OBV_CLI_HAS_TO = 1u << 3,
    OBV_CLI_HAS_AT = 1u << 4,
    OBV_CLI_HAS_TARGET = 1u << 5,
    OBV_CLI_HAS_POOL = 1u << 6,
    OBV_CLI_HAS_LOCALITY = 1u << 7,
    OBV_CLI_HAS_PRIMARY_ZONE = 1u << 8,
    OBV_CLI_HAS_RUNNING = 1u << 9,
    OBV_CLI_HAS_LIMIT = 1u << 10,
    OBV_CLI_HAS_ID = 1u << 11,
    OBV_CLI_HAS_SINCE = 1u << 12,
    OBV_CLI_HAS_FOLLOW = 1u << 13,
    OBV_CLI_HAS_CHECK = 1u << 14,
};

/* ---- options.c */
/** Parses argv; prints help or version and exits by itself. @return OBV_OK, OBV_E_INVAL (usage) */
OBV_CHECK obv_code obv_cli_parse(int argc, char **argv, obv_cli *c, obv_err *err);
/** "90", "90s", "15m", "2h", "1d" to microseconds. OBV_E_INVAL. */
OBV_CHECK obv_code obv_cli_duration(const char *text, int64_t *us, obv_err *err);

/* ---- commands.c */
typedef obv_code obv_cli_run(obv_cli *c, obv_err *err);
typedef struct obv_cli_command {
    const char *noun, *verb; /* verb NULL: none */
    uint32_t takes, needs;   /* OBV_CLI_HAS_... */
    obv_cli_run *run;
    const char *doc;
} obv_cli_command;
/** NULL past the end. */
const obv_cli_command *obv_cli_command_at(size_t i);
/** Finds the command and checks its options. OBV_E_INVAL. */
OBV_CHECK obv_code obv_cli_find(const obv_cli *c, const obv_cli_command **out, obv_err *err);

/* ---- call.c */
/** One unary call within what is left of the time-out. */
OBV_CHECK obv_code obv_cli_call(obv_cli *c, const char *method, const ProtobufCMessage *req, ProtobufCMessage **resp,
                                obv_err *err);
/** Milliseconds left of the command's time-out, at most @p most. */
uint32_t obv_cli_left_ms(const obv_cli *c, uint32_t most);
typedef bool obv_cli_enough(const Obvault__V1__Job *j);
/**
 * Follows a job until it ends, or @p enough says so; shows its progress. The last state is in *last (to be freed).
 * A coordinator that is away for a moment is waited for. OBV_E_TIMEOUT when the command's time is over.
 */
OBV_CHECK obv_code obv_cli_follow(obv_cli *c, const char *job_id, obv_cli_enough *enough, bool lines_to_out,
                                  Obvault__V1__Job **last, obv_err *err);
/** The error that a failed job ended with; OBV_OK for one that did not fail. */
OBV_CHECK obv_code obv_cli_job_result(const Obvault__V1__Job *j, obv_err *err);

/* ---- conf.c */
/**
 * Fills in where the coordinator is: what argv gave stays, the rest comes from the environment and the file.
 * @return OBV_OK; OBV_E_CONFIG: the file
 */
OBV_CHECK obv_code obv_cli_configure(obv_cli *c, obv_err *err);
obv_cli_run obv_cli_config_show;

/* ---- events.c */
obv_cli_run obv_cli_events;

/* ---- progress.c */
typedef struct obv_cli_meter {
    int64_t first_at, last_at;
    uint64_t first_bytes;
    uint32_t first_pgs;
    bool begun;
    uint64_t rate; /* bytes a second */
} obv_cli_meter;
void obv_cli_meter_see(obv_cli_meter *m, const Obvault__V1__Job *j);
/** One line without line feed: bar, per cent, bytes, rate, ETA. */
void obv_cli_meter_bar(const obv_cli_meter *m, const Obvault__V1__Job *j, char *out, size_t cap);
/** Seconds to the end by the PGs done so far; -1 if unknown. */
int64_t obv_cli_meter_eta_s(const obv_cli_meter *m, const Obvault__V1__Job *j);
/** "1.5 GiB" */
const char *obv_cli_bytes(uint64_t n, char out[24]);

/* ---- render.c: a reply as text or as one JSON document */
/** The members of a job, into the open object. */
void obv_cli_put_job(obv_json *w, const Obvault__V1__Job *j);
void obv_cli_put_time(obv_json *w, const char *key, int64_t us); /* text, or null for 0 */
void obv_cli_put_error(obv_json *w, const char *key, const obv_err *e);
typedef void obv_cli_json_fn(obv_json *w, const ProtobufCMessage *m);
typedef void obv_cli_text_fn(FILE *out, const ProtobufCMessage *m);
/** Prints by --output. OBV_E_IO when the output cannot be written. */
OBV_CHECK obv_code obv_cli_print(obv_cli *c, const ProtobufCMessage *m, obv_cli_text_fn *text, obv_cli_json_fn *json,
                                 obv_err *err);
void obv_cli_print_error(const obv_cli *c, const obv_err *e);
obv_cli_text_fn obv_text_job, obv_text_jobs, obv_text_job_detail, obv_text_repository, obv_text_archive, obv_text_sets,
    obv_text_set, obv_text_window, obv_text_plan, obv_text_restore, obv_text_agents, obv_text_doctor;
obv_cli_json_fn obv_json_job, obv_json_jobs, obv_json_job_detail, obv_json_repository, obv_json_archive, obv_json_sets,
    obv_json_set, obv_json_window, obv_json_plan, obv_json_restore, obv_json_agents, obv_json_doctor;
/** OBV_E_LOG_GAP where a tenant's log has a hole, with what it means; else OBV_OK. */
OBV_CHECK obv_code obv_cli_archive_result(const ProtobufCMessage *m, obv_err *err);
/** OBV_E_NOT_RESTORABLE where nothing at all can be restored; else OBV_OK. */
OBV_CHECK obv_code obv_cli_window_result(const ProtobufCMessage *m, obv_err *err);
/** The code of the worst finding; OBV_OK without a failure. */
obv_code obv_cli_doctor_result(const ProtobufCMessage *m);

#endif
