#include "base/fault.h"

#ifdef OBV_TEST_FAULTS

#include "base/clock.h"
#include "base/err.h"
#include "base/fault_points.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct named {
    const char *name, *where;
};
#define ROW(name, where) {name, where},
static const struct named POINTS[] = {OBV_FAULT_POINTS(ROW)};
static const struct named BUGS[] = {OBV_FAULT_BUGS(ROW)};

#define LINE_MAX_BYTES 200

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static char armed[LINE_MAX_BYTES]; /* the line that hits are counted for */
static unsigned long hits;

static void must_be_known(const struct named *table, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(table[i].name, name) == 0)
            return;
    (void)fprintf(stderr, "fault point or bug '%s' is not in base/fault_points.h\n", name);
    abort();
}

static bool read_line(const char *path, char *line)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, line, LINE_MAX_BYTES - 1);
    (void)close(fd);
    line[n < 0 ? 0 : n] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return n > 0;
}

/* Counts a hit of the armed point; true when this is the one, the file being claimed by its new name. */
static bool due(const char *path, const char *point, char *action, size_t cap)
{
    char line[LINE_MAX_BYTES];
    char fired[4096];
    char name[LINE_MAX_BYTES];
    char what[LINE_MAX_BYTES];
    unsigned long nth;
    if (!read_line(path, line) || sscanf(line, "%199s %199s %lu", name, what, &nth) != 3 || strcmp(name, point) != 0)
        return false;
    if (strcmp(line, armed) != 0) {
        memcpy(armed, line, sizeof armed);
        hits = 0;
    }
    if (++hits != nth)
        return false;
    if (snprintf(fired, sizeof fired, "%s.fired", path) >= (int)sizeof fired || rename(path, fired) != 0)
        return false; /* another process was faster */
    armed[0] = '\0';
    return snprintf(action, cap, "%s", what) > 0;
}

bool obv_fault_hit(const char *point)
{
    must_be_known(POINTS, sizeof POINTS / sizeof *POINTS, point);
    const char *path = getenv("OBV_FAULT_FILE");
    if (!path || !path[0])
        return false;
    char action[LINE_MAX_BYTES];
    pthread_mutex_lock(&mu);
    const bool now = due(path, point, action, sizeof action);
    pthread_mutex_unlock(&mu);
    if (!now)
        return false;
    (void)fprintf(stderr, "fault point %s: %s\n", point, action);
    if (strcmp(action, "kill") == 0)
        (void)kill(getpid(), SIGKILL);
    if (strcmp(action, "exit") == 0)
        _exit(70);
    if (strncmp(action, "sleep:", 6) == 0) {
        const int64_t ns = (int64_t)strtoul(action + 6, NULL, 10) * OBV_NS_PER_MS;
        struct timespec t = {.tv_sec = ns / OBV_NS_PER_S, .tv_nsec = ns % OBV_NS_PER_S};
        while (nanosleep(&t, &t) != 0 && errno == EINTR) {
        }
        return false;
    }
    return strcmp(action, "error") == 0;
}

static bool listed(const char *p, const char *name)
{
    const size_t n = strlen(name);
    while (*p) {
        const size_t len = strcspn(p, ",");
        if (len == n && strncmp(p, name, n) == 0)
            return true;
        p += len + (p[len] == ',');
    }
    return false;
}

bool obv_fault_bug(const char *name)
{
    must_be_known(BUGS, sizeof BUGS / sizeof *BUGS, name);
    const char *p = getenv("OBV_BUG");
    char line[LINE_MAX_BYTES];
    if (!p || p[0] != '@')
        return p && listed(p, name);
    return read_line(p + 1, line) && listed(line, name);
}

bool obv_fault_bug_strikes(const char *name)
{
    const bool on = obv_fault_bug(name);
    if (on)
        (void)fprintf(stderr, "seeded bug %s\n", name);
    return on;
}

void obv_fault_list(FILE *out)
{
    for (size_t i = 0; i < sizeof POINTS / sizeof *POINTS; i++)
        (void)fprintf(out, "%s\t%s\n", POINTS[i].name, POINTS[i].where);
    for (size_t i = 0; i < sizeof BUGS / sizeof *BUGS; i++)
        (void)fprintf(out, "%s\t%s\n", BUGS[i].name, BUGS[i].where);
}

#else
typedef int obv_no_fault_points; /* ISO C wants one declaration a file */
#endif
