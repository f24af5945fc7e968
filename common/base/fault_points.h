/* fault_points.h - every named fault point and seeded bug of test builds: X(name, where it stands and what it means)
 *
 * Sorted by name. A point that code names but this table does not aborts at its first hit.
 */
#ifndef OBV_BASE_FAULT_POINTS_H
#define OBV_BASE_FAULT_POINTS_H

/* clang-format off */
#define OBV_FAULT_POINTS(X)                                                                                            \
    X("repository.before_identity", "agent/host/repository.c: all is checked, repository.json is not put yet")         \
    X("test.point", "tests/unit/base/test_fault.c")

#define OBV_FAULT_BUGS(X)                                                                                              \
    X("bug.drop_block", "agent/job/backup.c: a macroblock is left out of the copy")                                    \
    X("bug.wrong_log_range", "agent/job/archive.c: the checkpoint passes a log that is not stored")                    \
    X("bug.wrong_trans_sstable", "agent/job/backup.c: the transaction-state sstable is left out of the copy")
/* clang-format on */

#endif
