/* fault.h - named places where a test can kill, stop, delay or fail the program; nothing of it in a release build
 *
 * Environment OBV_FAULT_FILE names a file whose single line is `<point> <action> <nth>`. At the nth hit of that point
 * since the line appeared, the file is renamed to `<file>.fired` and the action is done: `kill` (SIGKILL to itself),
 * `exit` (at once, status 70), `sleep:<ms>`, `error`. Environment OBV_BUG lists seeded bugs, separated by commas, or
 * is `@` and the name of a file that holds such a list: as it stands at that moment.
 * Points and bugs are named in base/fault_points.h.
 */
#ifndef OBV_BASE_FAULT_H
#define OBV_BASE_FAULT_H

#include <stdbool.h>
#include <stdio.h>

#ifdef OBV_TEST_FAULTS
/** @return true if the action `error` is due now. */
bool obv_fault_hit(const char *point);
bool obv_fault_bug(const char *name);
/** The same, for a bug that strikes wherever it is asked for: says so in the log. */
bool obv_fault_bug_strikes(const char *name);
/** One line a point and bug: name, tab, where. */
void obv_fault_list(FILE *out);

#define OBV_FAULT(point) ((void)obv_fault_hit(point))
#define OBV_FAULT_ERROR(point) obv_fault_hit(point)
#define OBV_FAULT_BUG(name) obv_fault_bug(name)
#define OBV_BUG_STRIKES(name) obv_fault_bug_strikes(name)
#else
#define OBV_FAULT(point) ((void)0)
#define OBV_FAULT_ERROR(point) false
#define OBV_FAULT_BUG(name) false
#define OBV_BUG_STRIKES(name) false
#endif

#endif
