/* board.h - what doctor asks of living agents, and what they answer: in memory only, one asking at a time
 *
 * Agents see the question in the answers to their Syncs and report until they are done; whoever asks waits with a
 * deadline and takes what is there.
 */
#ifndef OBV_COORDINATOR_BOARD_H
#define OBV_COORDINATOR_BOARD_H

#include "base/finding.h"
#include "state/tasks.h"

#include <stdbool.h>

#define OBV_BOARD_AGENTS_MAX 256u
#define OBV_BOARD_FINDINGS_MAX 64u /* of one agent */

typedef struct obv_board obv_board;
OBV_CHECK obv_code obv_board_new(obv_board **out, obv_err *err);
void obv_board_free(obv_board *b);

/* One agent's answer. */
typedef struct obv_board_answer {
    char agent_id[OBV_AGENT_ID_MAX];
    bool answered, done;
    char doing[40];       /* check at work while not done */
    bool clock_known;     /* an answer came */
    int64_t clock_off_us; /* its wall clock less this host's, the least seen */
    bool free_known;
    uint64_t free_bytes;
    char uuid[40]; /* of the repository that it reads; "" = none */
    obv_findings found;
} obv_board_answer;

/* ---- who asks */
/** @p agents hold agent_id each; they are copied. OBV_E_BUSY: somebody else is asking. */
OBV_CHECK obv_code obv_board_ask(obv_board *b, const obv_board_answer *agents, size_t n, bool repository_only,
                                 uint32_t deadline_ms, obv_err *err);
/** Waits until all are done or the deadline has passed. */
void obv_board_wait(obv_board *b);
/** Ends the asking and hands over the answers; free each answer's findings, then the list. */
void obv_board_end(obv_board *b, obv_board_answer **out, size_t *n);

/* ---- the agents' side */
typedef struct obv_board_question {
    uint64_t id; /* 0: nothing is asked of this agent */
    bool repository_only;
    uint32_t deadline_ms; /* left */
} obv_board_question;
obv_board_question obv_board_look(obv_board *b, const char *agent_id);
/** An answer to question @p id; takes over its findings. Late ones are dropped. */
void obv_board_take(obv_board *b, uint64_t id, obv_board_answer *a);

#endif
